//! Books kept from outside: sessions, attempts and jobs as events and effects tell of them. Deliberately simple
//! and slow.

use std::collections::{BTreeMap, BTreeSet};

use windrow_jobs::{AttemptId, FailureCause, JobId, Stage, TaskId, WorkerId};
use windrow_scheduler::{Config, Effect, Event, JobFailure, JobPlan, Outcome, Time, WorkerOffer};

pub struct Ledger {
    pub config: Config,
    pub sessions: BTreeMap<WorkerId, Session>,
    pub attempts: BTreeMap<AttemptId, Attempt>,
    pub jobs: BTreeMap<JobId, Job>,
    /// Since when there is no worker that stays.
    pub deserted_since: Option<Time>,
    joining: Option<WorkerOffer>,
    submitted: Option<JobPlan>,
}

pub struct Session {
    pub offer: WorkerOffer,
    pub draining: bool,
    pub heard: Time,
}

pub struct Attempt {
    pub worker: WorkerId,
    pub status: Status,
    /// Reducers that could not fetch its output.
    pub reports: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Running,
    Done,
    Failed(FailureCause),
    /// By the scheduler.
    Cancelled,
    /// With its worker, while it ran.
    Lost,
}

pub struct Job {
    pub plan: JobPlan,
    pub submitted: Time,
    pub cancelled: bool,
    pub published: Option<Result<(), FailureCause>>,
    pub publishing: bool,
    pub ended: Option<Outcome>,
}

impl Job {
    /// The stage whose tasks write parts, and their number.
    pub fn output_stage(&self) -> (Stage, u32) {
        match self.plan.partitions {
            0 => (Stage::Map, self.plan.splits.len() as u32),
            partitions => (Stage::Reduce, partitions),
        }
    }

    pub fn needs_map_outputs(&self) -> bool {
        self.plan.partitions > 0 && !self.publishing && self.ended.is_none()
    }
}

impl Ledger {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            sessions: BTreeMap::new(),
            attempts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            deserted_since: Some(Time::default()),
            joining: None,
            submitted: None,
        }
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

    /// Whether enough reducers have complained about an output, or about all that its worker holds of the job.
    pub fn may_be_given_up(&self, id: AttemptId, attempt: &Attempt) -> bool {
        let same_holder = |(other, a): &(&AttemptId, &Attempt)| {
            other.task.job == id.task.job && a.worker == attempt.worker
        };
        let reports: u32 = self.attempts.iter().filter(same_holder).map(|(_, a)| a.reports).sum();
        attempt.reports >= self.config.output_reports_max
            || reports >= self.config.holder_reports_max
    }

    pub fn on_event(&mut self, now: Time, event: &Event) {
        match event {
            Event::Submit { plan, .. } => self.submitted = Some(plan.clone()),
            Event::WorkerJoined { offer, .. } => self.joining = Some(offer.clone()),
            Event::Cancel { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.cancelled = true;
                }
            }
            Event::WorkerLeft { worker, .. } => self.lose(now, *worker),
            Event::WorkerDraining { worker } => {
                if let Some(session) = self.hear(now, *worker) {
                    session.draining = true;
                }
                self.look_around(now);
            }
            Event::Heartbeat { worker, .. } => drop(self.hear(now, *worker)),
            Event::AttemptDone { worker, attempt, .. } => {
                self.report(now, *worker, *attempt, Status::Done);
            }
            Event::AttemptFailed { worker, attempt, cause } => {
                self.report(now, *worker, *attempt, Status::Failed(cause.clone()));
            }
            Event::Published { job, result } => {
                if let Some(job) = self.jobs.get_mut(job).filter(|job| job.publishing) {
                    job.published.get_or_insert_with(|| result.clone());
                }
            }
        }
    }

    fn hear(&mut self, now: Time, worker: WorkerId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&worker)?;
        session.heard = now;
        Some(session)
    }

    fn report(&mut self, now: Time, worker: WorkerId, id: AttemptId, status: Status) {
        self.hear(now, worker);
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if attempt.worker != worker || attempt.status != Status::Running {
            return;
        }
        attempt.status = status.clone();
        if let Status::Failed(FailureCause::FetchFailed { map_task, map_attempt, .. }) = status {
            let task = TaskId { stage: Stage::Map, index: map_task, ..id.task };
            let output = AttemptId { task, number: map_attempt };
            if let Some(output) = self.attempts.get_mut(&output) {
                output.reports += 1;
            }
        }
    }

    fn lose(&mut self, now: Time, worker: WorkerId) {
        if self.sessions.remove(&worker).is_none() {
            return;
        }
        for attempt in self.attempts.values_mut() {
            if attempt.worker == worker && attempt.status == Status::Running {
                attempt.status = Status::Lost;
            }
        }
        self.look_around(now);
    }

    fn look_around(&mut self, now: Time) {
        if self.sessions.values().any(|session| !session.draining) {
            self.deserted_since = None;
        } else {
            self.deserted_since.get_or_insert(now);
        }
    }

    pub fn on_effect(&mut self, now: Time, effect: &Effect) {
        match effect {
            Effect::Accepted { job, .. } => self.accept(now, *job),
            Effect::Admitted { worker, .. } => {
                if let Some(offer) = self.joining.take() {
                    let session = Session { offer, draining: false, heard: now };
                    self.sessions.insert(*worker, session);
                    self.look_around(now);
                }
            }
            Effect::Assign { worker, attempt, .. } => {
                let assigned = Attempt { worker: *worker, status: Status::Running, reports: 0 };
                self.attempts.insert(*attempt, assigned);
            }
            Effect::CancelAttempt { attempt, worker } => {
                let attempt = self.attempts.get_mut(attempt).filter(|a| a.worker == *worker);
                if let Some(attempt) = attempt.filter(|a| a.status == Status::Running) {
                    attempt.status = Status::Cancelled;
                }
            }
            Effect::EndSession { worker, .. } => self.lose(now, *worker),
            Effect::Publish { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.publishing = true;
                }
            }
            Effect::Ended { job, outcome } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.ended = Some(outcome.clone());
                }
            }
            Effect::CancelAnswered { .. } | Effect::Drained { .. } | Effect::Release { .. } => {}
        }
    }

    fn accept(&mut self, now: Time, id: JobId) {
        let Some(plan) = self.submitted.take() else { return };
        let job = Job {
            plan,
            submitted: now,
            cancelled: false,
            published: None,
            publishing: false,
            ended: None,
        };
        self.jobs.insert(id, job);
    }

    /// The kinds of ends that jobs came to.
    pub fn outcomes(&self) -> Vec<&'static str> {
        let kind = |outcome: &Outcome| match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed(JobFailure::NoWorkers) => "no workers",
            Outcome::Failed(JobFailure::Publish(_)) => "not published",
            Outcome::Failed(JobFailure::Task { cause, .. }) => match cause {
                FailureCause::WorkerLost { .. } => "workers lost",
                FailureCause::FetchFailed { .. } => "not fetched",
                FailureCause::Timeout { .. } => "timed out",
                _ => "task failed",
            },
        };
        self.jobs.values().filter_map(|job| job.ended.as_ref().map(kind)).collect()
    }
}
