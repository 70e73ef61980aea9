//! Books kept from outside: sessions, attempts and jobs as events and effects tell of them. Deliberately simple
//! and slow.

use std::collections::{BTreeMap, BTreeSet};

use windrow_jobs::{AttemptId, Audit, FailureCause, JobId, Place, Stage, TaskId, WorkerId};
use windrow_scheduler::{
    Config, Effect, Event, Inventory, JobFailure, JobPlan, Outcome, RequestId, Time, WorkerOffer,
};

#[derive(Clone)]
pub struct Ledger {
    pub now: Time,
    pub config: Config,
    pub sessions: BTreeMap<WorkerId, Session>,
    pub attempts: BTreeMap<AttemptId, Attempt>,
    pub jobs: BTreeMap<JobId, Job>,
    /// Since when there is no worker that stays.
    pub deserted_since: Option<Time>,
    /// The worker that has just come back, while that is handled.
    pub returning: Option<WorkerId>,
    /// The attempts that are being backed up, while that is handled.
    pub backed_up: BTreeSet<AttemptId>,
    /// The task that has just got a winner, while that is handled.
    won: Option<TaskId>,
    /// The task that has just been found to have poison, while that is handled: all its attempts would die of it.
    poisoned: Option<TaskId>,
    /// Whether a takeover is being handled.
    pub took_over: bool,
    /// Tasks whose process has died since they last succeeded.
    pub suspects: BTreeSet<TaskId>,
    /// By task: records that have killed a process in which nothing else ran, in jobs that may skip such.
    pub poison: BTreeMap<TaskId, Vec<Place>>,
    /// What the first winner of a map task wrote.
    written: BTreeMap<TaskId, Audit>,
    nondeterministic: BTreeSet<JobId>,
    joining: Option<(RequestId, WorkerOffer)>,
    submitted: Option<JobPlan>,
}

#[derive(Clone)]
pub struct Session {
    pub offer: WorkerOffer,
    pub draining: bool,
    /// `None`: it is away.
    pub connection: Option<RequestId>,
    pub lease_ends: Time,
}

#[derive(Clone)]
pub struct Attempt {
    pub worker: WorkerId,
    pub status: Status,
    /// Reducers that could not fetch its output.
    pub reports: u32,
    /// Its worker came back without its output, or said that it is gone.
    pub missing: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Running,
    Done,
    Failed(FailureCause),
    /// By the scheduler.
    Cancelled,
    /// Another attempt of the task was faster, or what it reads has changed.
    Overtaken,
    /// With its worker, while it ran.
    Lost,
    /// Its worker came back and did not know of it: it is told again, or lost.
    Unknown,
}

#[derive(Clone)]
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

    /// The record that such a cause accuses, which is nobody's failure in a job that may skip it.
    pub fn poison<'a>(&self, cause: &'a FailureCause) -> Option<&'a Place> {
        match cause {
            FailureCause::ProcessDied { alone: true, place, .. } => Some(&**place),
            _ => None,
        }
        .filter(|place| self.plan.skip_bad_records.is_some() && place.names_record())
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

    /// Whether two attempts of a map have told of different outputs.
    pub fn nondeterministic(&self, job: JobId) -> bool {
        self.nondeterministic.contains(&job)
    }

    /// Whether an assignment is of an attempt that its worker should have, told again.
    pub fn is_retold(&self, effect: &Effect) -> bool {
        let Effect::Assign { worker, attempt, .. } = effect else { return false };
        let unknown = |a: &Attempt| a.worker == *worker && a.status == Status::Unknown;
        self.returning == Some(*worker) && self.attempts.get(attempt).is_some_and(unknown)
    }

    pub fn on_event(&mut self, now: Time, event: &Event) {
        self.now = now;
        self.returning = None;
        self.took_over = false;
        self.backed_up.clear();
        self.won = None;
        self.poisoned = None;
        match event {
            Event::Submit { plan, .. } => self.submitted = Some(plan.clone()),
            Event::WorkerJoined { request, offer } => {
                self.joining = Some((*request, offer.clone()));
            }
            Event::WorkerReturned { request, worker, inventory } => {
                self.come_back(*request, *worker, inventory);
            }
            Event::WorkerDisconnected { worker, connection } => self.go_away(*worker, *connection),
            Event::Cancel { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.cancelled = true;
                }
            }
            Event::WorkerLeft { worker, .. } => self.lose(*worker),
            Event::WorkerDraining { worker } => {
                if let Some(session) = self.hear(*worker) {
                    session.draining = true;
                }
                self.look_around();
            }
            Event::Heartbeat { worker, .. } => drop(self.hear(*worker)),
            Event::AttemptDone { worker, attempt, stats } => {
                self.report(*worker, *attempt, Status::Done);
                if self.won.is_some() && attempt.task.stage == Stage::Map {
                    // By what was emitted, where that is known.
                    let says = stats.emitted.map_or(stats.audit, |emitted| emitted.keys);
                    let former = self.written.insert(attempt.task, says);
                    if former.is_some_and(|former| former != says) {
                        self.nondeterministic.insert(attempt.task.job);
                    }
                }
            }
            Event::AttemptFailed { worker, attempt, cause } => {
                self.report(*worker, *attempt, Status::Failed(cause.clone()));
            }
            Event::OutputsLost { worker, outputs } => self.lose_outputs(*worker, outputs),
            Event::Published { job, result } => {
                if let Some(job) = self.jobs.get_mut(job).filter(|job| job.publishing) {
                    job.published.get_or_insert_with(|| result.clone());
                }
            }
            Event::BackUp { attempts } => self.backed_up.extend(attempts),
            Event::TookOver { config } => self.take_over(config),
            Event::Resubmit { .. } | Event::Settled { .. } | Event::Elapsed { .. } => {}
        }
    }

    fn hear(&mut self, worker: WorkerId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&worker)?;
        if session.connection.is_some() {
            session.lease_ends = self.now + self.config.lease;
        }
        Some(session)
    }

    fn go_away(&mut self, worker: WorkerId, connection: RequestId) {
        let patience_ends = self.now + self.config.reconnect;
        let session = self.sessions.get_mut(&worker);
        if let Some(session) = session.filter(|session| session.connection == Some(connection)) {
            session.connection = None;
            session.lease_ends = session.lease_ends.min(patience_ends);
        }
    }

    fn come_back(&mut self, connection: RequestId, worker: WorkerId, inventory: &Inventory) {
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        session.connection = Some(connection);
        self.hear(worker);
        self.returning = Some(worker);
        for (id, attempt) in self.attempts.iter_mut().filter(|(_, a)| a.worker == worker) {
            let known = inventory.running.contains(id) || inventory.unanswered.contains(id);
            match attempt.status {
                Status::Running if !known => attempt.status = Status::Unknown,
                Status::Done if id.task.stage == Stage::Map => {
                    let wanted = self.jobs.get(&id.task.job).is_some_and(Job::needs_map_outputs);
                    attempt.missing |= wanted && !inventory.outputs.contains(id);
                }
                _ => {}
            }
        }
    }

    fn take_over(&mut self, config: &Config) {
        self.took_over = true;
        self.config = config.clone();
        for session in self.sessions.values_mut() {
            session.connection = None;
            session.lease_ends = self.now + config.lease;
        }
        self.deserted_since = self.deserted_since.map(|_| self.now);
    }

    fn report(&mut self, worker: WorkerId, id: AttemptId, status: Status) {
        self.hear(worker);
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if attempt.worker != worker || attempt.status != Status::Running {
            return;
        }
        attempt.status = status.clone();
        if status == Status::Done {
            self.won = Some(id.task);
            self.suspects.remove(&id.task);
        }
        if let Status::Failed(cause) = &status
            && cause.died_alone().is_some()
        {
            self.suspects.insert(id.task);
            let poison = self.jobs.get(&id.task.job).and_then(|job| job.poison(cause)).cloned();
            self.poisoned = poison.is_some().then_some(id.task);
            self.poison.entry(id.task).or_default().extend(poison);
        }
        if let Status::Failed(FailureCause::FetchFailed { map_task, map_attempt, .. }) = status {
            let task = TaskId { stage: Stage::Map, index: map_task, ..id.task };
            let output = AttemptId { task, number: map_attempt };
            if let Some(output) = self.attempts.get_mut(&output) {
                output.reports += 1;
            }
        }
    }

    fn lose(&mut self, worker: WorkerId) {
        if self.sessions.remove(&worker).is_none() {
            return;
        }
        for attempt in self.attempts.values_mut() {
            if attempt.worker == worker && attempt.status == Status::Running {
                attempt.status = Status::Lost;
            }
        }
        self.look_around();
    }

    fn lose_outputs(&mut self, worker: WorkerId, outputs: &[AttemptId]) {
        if self.hear(worker).is_none() {
            return;
        }
        for id in outputs.iter().filter(|id| id.task.stage == Stage::Map) {
            let wanted = self.jobs.get(&id.task.job).is_some_and(Job::needs_map_outputs);
            let Some(attempt) = self.attempts.get_mut(id) else { continue };
            attempt.missing |= wanted && attempt.worker == worker && attempt.status == Status::Done;
        }
    }

    fn look_around(&mut self) {
        if self.sessions.values().any(|session| !session.draining) {
            self.deserted_since = None;
        } else {
            self.deserted_since.get_or_insert(self.now);
        }
    }

    pub fn on_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Accepted { job, .. } => self.accept(*job),
            Effect::Admitted { worker, .. } => {
                if let Some((connection, offer)) = self.joining.take() {
                    let lease_ends = self.now + self.config.lease;
                    let session = Session {
                        offer,
                        draining: false,
                        connection: Some(connection),
                        lease_ends,
                    };
                    self.sessions.insert(*worker, session);
                    self.look_around();
                }
            }
            Effect::Assign { worker, attempt, .. } => {
                let assigned = Attempt {
                    worker: *worker,
                    status: Status::Running,
                    reports: 0,
                    missing: false,
                };
                self.attempts.insert(*attempt, assigned);
            }
            Effect::CancelAttempt { attempt, worker } => {
                let attempt = self.attempts.get_mut(attempt).filter(|a| a.worker == *worker);
                if let Some(attempt) = attempt.filter(|a| a.status == Status::Running) {
                    let overtaken = self.won.is_some() || self.poisoned.is_some();
                    attempt.status = if overtaken { Status::Overtaken } else { Status::Cancelled };
                }
            }
            Effect::EndSession { worker, .. } => self.lose(*worker),
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
            Effect::CancelAnswered { .. }
            | Effect::NotSubmitted { .. }
            | Effect::Noted { .. }
            | Effect::TooLate { .. }
            | Effect::Drained { .. }
            | Effect::Release { .. } => {}
        }
    }

    fn accept(&mut self, id: JobId) {
        let Some(plan) = self.submitted.take() else { return };
        if self.jobs.contains_key(&id) {
            return;
        }
        let job = Job {
            plan,
            submitted: self.now,
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
            Outcome::Failed(JobFailure::Audit { .. }) => "not conserved",
            Outcome::Failed(JobFailure::BadRecords { .. }) => "too many bad records",
            Outcome::Failed(JobFailure::Poison { .. }) => "too much poison",
            Outcome::Failed(JobFailure::Publish(_)) => "not published",
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
