//! An independent ledger of sessions, attempts and jobs, kept from events and effects. Deliberately
//! simple and slow.

mod effects;
mod entries;
mod events;

use std::collections::{BTreeMap, BTreeSet};

use windrow_jobs::{AttemptId, Audit, FailureCause, JobId, RecordPlace, TaskId, WorkerId};
use windrow_scheduler::{
    Config, Effect, JobFailure, JobPlan, Outcome, RequestId, Time, WorkerOffer,
};

pub use entries::{Attempt, Job, Session, Status};

#[derive(Clone)]
pub struct Ledger {
    pub now: Time,
    pub config: Config,
    pub sessions: BTreeMap<WorkerId, Session>,
    pub attempts: BTreeMap<AttemptId, Attempt>,
    pub jobs: BTreeMap<JobId, Job>,
    /// Jobs whose partial files are gone, in the order in which that was done.
    pub settled: Vec<JobId>,
    /// Since when no worker stays.
    pub deserted_since: Option<Time>,
    /// The worker that is returning, while that is handled.
    pub returning: Option<WorkerId>,
    /// The attempts that are being backed up, while that is handled.
    pub backed_up: BTreeSet<AttemptId>,
    /// The task that has just got a winner, while that is handled.
    won: Option<TaskId>,
    /// The task whose poison was just found, while that is handled: its other attempt is stopped.
    poisoned: Option<TaskId>,
    /// Whether a takeover is being handled.
    pub took_over: bool,
    /// Tasks whose process has died since they last succeeded.
    pub suspects: BTreeSet<TaskId>,
    /// By task: poison, in jobs that may skip bad records.
    pub poison: BTreeMap<TaskId, Vec<RecordPlace>>,
    /// What the first winner of a map task wrote.
    written: BTreeMap<TaskId, Audit>,
    nondeterministic: BTreeSet<JobId>,
    joining: Option<(RequestId, WorkerOffer)>,
    submitted: Option<JobPlan>,
}

fn fits_any(plan: &JobPlan, sessions: &BTreeMap<WorkerId, Session>) -> bool {
    let fits = |session: &Session| plan.needs.missing(&session.offer.platform).is_none();
    sessions.values().any(|session| !session.draining && fits(session))
}

impl Ledger {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            sessions: BTreeMap::new(),
            attempts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            settled: Vec::new(),
            now: Time::default(),
            deserted_since: Some(Time::default()),
            returning: None,
            backed_up: BTreeSet::new(),
            won: None,
            poisoned: None,
            took_over: false,
            suspects: BTreeSet::new(),
            poison: BTreeMap::new(),
            written: BTreeMap::new(),
            nondeterministic: BTreeSet::new(),
            joining: None,
            submitted: None,
        }
    }

    /// Whether any worker that stays can run a job.
    pub fn any_fits(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| fits_any(&job.plan, &self.sessions))
    }

    pub fn all_ended(&self) -> bool {
        self.jobs.values().all(|job| job.ended.is_some())
    }

    /// Attempts that run, on workers with a session.
    pub fn running(&self) -> impl Iterator<Item = (AttemptId, WorkerId)> {
        let running = |(id, attempt): (&AttemptId, &Attempt)| {
            (attempt.status == Status::Running).then_some((*id, attempt.worker))
        };
        self.attempts.iter().filter_map(running)
    }

    /// Attempts of a task, in order.
    pub fn attempts_of(&self, task: TaskId) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        let first = AttemptId { task, number: 0 };
        let last = AttemptId { task, number: u32::MAX };
        self.attempts.range(first..=last).map(|(id, attempt)| (*id, attempt))
    }

    /// The workers with a session that were ever given an attempt of the job.
    pub fn touched(&self, job: JobId) -> BTreeSet<WorkerId> {
        let of_job =
            |(id, attempt): (&AttemptId, &Attempt)| (id.task.job == job).then_some(attempt.worker);
        let workers = self.attempts.iter().filter_map(of_job);
        workers.filter(|worker| self.sessions.contains_key(worker)).collect()
    }

    /// Whether enough reducers have complained about an output, or about all that its worker holds
    /// of the job.
    pub fn may_be_given_up(&self, id: AttemptId, attempt: &Attempt) -> bool {
        let same_holder = |(other, a): &(&AttemptId, &Attempt)| {
            other.task.job == id.task.job && a.worker == attempt.worker
        };
        let reports: u32 = self.attempts.iter().filter(same_holder).map(|(_, a)| a.reports).sum();
        attempt.reports >= self.config.output_reports_max
            || reports >= self.config.holder_reports_max
    }

    /// Whether two attempts of a map have told of different outputs.
    pub fn nondeterministic(&self, job: JobId) -> bool {
        self.nondeterministic.contains(&job)
    }

    /// Whether an assignment repeats one that its worker should have.
    pub fn is_retold(&self, effect: &Effect) -> bool {
        let Effect::Assign { worker, attempt, .. } = effect else { return false };
        let unknown = |a: &Attempt| a.worker == *worker && a.status == Status::Unknown;
        self.returning == Some(*worker) && self.attempts.get(attempt).is_some_and(unknown)
    }

    /// The kinds of outcomes of jobs.
    pub fn outcomes(&self) -> Vec<&'static str> {
        let kind = |outcome: &Outcome| match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed(JobFailure::NoWorkers) => "no workers",
            Outcome::Failed(JobFailure::NoFit) => "no fitting workers",
            Outcome::Failed(JobFailure::Audit { .. }) => "not conserved",
            Outcome::Failed(JobFailure::BadRecords { .. }) => "too many bad records",
            Outcome::Failed(JobFailure::Poison { .. }) => "too much poison",
            Outcome::Failed(JobFailure::Publish(_)) => "not published",
            Outcome::Failed(JobFailure::OutputLost(_)) => "output lost",
            Outcome::Failed(JobFailure::Task { cause, .. }) => match cause {
                FailureCause::WorkerLost { .. } => "workers lost",
                FailureCause::FetchFailed { .. } => "not fetched",
                FailureCause::Timeout { .. } => "timed out",
                FailureCause::ProcessDied { .. } => "processes died",
                _ => "task failed",
            },
        };
        self.jobs.values().filter_map(|job| job.ended.as_ref().map(kind)).collect()
    }
}
