//! A scheduler in virtual time, and short names for events and effects.

use std::sync::Arc;
use std::time::Duration;

use windrow_model::{
    AttemptId, Audit, BadRecord, FailureCause, JobId, Platform, PlatformNeeds, RecordPlace,
    StageId, TaskId, WorkerId,
};

use crate::*;

pub(super) const W1: WorkerId = WorkerId(1);
pub(super) const W2: WorkerId = WorkerId(2);
pub(super) const W3: WorkerId = WorkerId(3);
pub(super) const J1: JobId = JobId(1);
pub(super) const J2: JobId = JobId(2);
const LEASE: Duration = Duration::from_secs(86_400);
pub(super) const REQUEST: RequestId = RequestId(7);

pub(super) struct Fixture {
    pub(super) scheduler: Scheduler,
    pub(super) now: Time,
    pub(super) submissions: u128,
}

impl Fixture {
    /// With `workers` workers of two map slots and two reduce slots each.
    pub(super) fn new(workers: usize) -> Self {
        Self::with_config(workers, Config::default())
    }

    /// The lease is so long that other tests need no heartbeats, and there are no backups.
    pub(super) fn with_config(workers: usize, config: Config) -> Self {
        // By default, tasks take no time and go one to a slot.
        let quick_task = Duration::ZERO;
        let config = Config { lease: LEASE, backup_after: None, quick_task, ..config };
        let mut fixture = Self::without_workers(config);
        for _ in 0..workers {
            fixture.join(2, 2);
        }
        fixture
    }

    pub(super) fn without_workers(config: Config) -> Self {
        Self { scheduler: Scheduler::new(config), now: Time::default(), submissions: 0 }
    }

    pub(super) fn handle(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.scheduler.handle(self.now, &event, &mut effects);
        self.scheduler.check_invariants();
        effects
    }

    /// Lets time pass to the next deadline.
    pub(super) fn wait(&mut self) -> Vec<Effect> {
        self.now = self.scheduler.next_deadline().expect("a deadline");
        let mut effects = Vec::new();
        self.scheduler.handle_deadline(self.now, &mut effects);
        self.scheduler.check_invariants();
        effects
    }

    /// Lets time pass; no deadline may lie within it.
    pub(super) fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        assert!(self.scheduler.next_deadline().is_none_or(|deadline| deadline > self.now));
    }

    /// A worker joins; its assignments are not returned.
    pub(super) fn join(&mut self, map_slots: u32, reduce_slots: u32) -> WorkerId {
        let offer = WorkerOffer {
            name: "worker".into(),
            identity: 0,
            map_slots,
            reduce_slots,
            platform: Platform::default(),
        };
        self.join_as(offer).0
    }

    pub(super) fn join_as(&mut self, offer: WorkerOffer) -> (WorkerId, Vec<Effect>) {
        let mut effects = self.handle(Event::WorkerJoined { request: REQUEST, offer });
        let Effect::Admitted { request: REQUEST, worker } = effects.remove(0) else {
            panic!("not admitted: {effects:?}")
        };
        (worker, effects)
    }

    pub(super) fn submit(&mut self, plan: JobPlan) -> Vec<Effect> {
        self.submissions += 1;
        let submission = SubmissionId(self.submissions);
        self.handle(Event::Submit { request: REQUEST, submission, plan })
    }

    /// A running attempt succeeds.
    pub(super) fn done(&mut self, worker: WorkerId, attempt: AttemptId) -> Vec<Effect> {
        let before = self.worker(worker).done;
        let stats = AttemptStats::default();
        let mut effects = self.handle(Event::AttemptDone { worker, attempt, stats });
        assert_eq!(self.worker(worker).done, before + 1, "{attempt} runs on {worker}");
        assert_eq!(effects.remove(0), noted(worker, attempt, true));
        effects
    }

    /// A running attempt fails.
    pub(super) fn fail(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        cause: FailureCause,
    ) -> Vec<Effect> {
        let before = self.worker(worker).failed;
        let mut effects = self.handle(Event::AttemptFailed { worker, attempt, cause });
        assert_eq!(self.worker(worker).failed, before + 1, "{attempt} runs on {worker}");
        assert_eq!(effects.remove(0), noted(worker, attempt, false));
        effects
    }

    pub(super) fn leave(&mut self, worker: WorkerId) -> Vec<Effect> {
        self.handle(Event::WorkerLeft { worker, reason: "connection reset".into() })
    }

    pub(super) fn drain(&mut self, worker: WorkerId) -> Vec<Effect> {
        self.handle(Event::WorkerDraining { worker })
    }

    pub(super) fn cancel(&mut self, job: JobId) -> Vec<Effect> {
        self.handle(Event::Cancel { request: REQUEST, job })
    }

    pub(super) fn heartbeat(
        &mut self,
        worker: WorkerId,
        running: &[(AttemptId, u64)],
    ) -> Vec<Effect> {
        let progress =
            |&(attempt, records)| AttemptProgress { attempt, records, bytes: 0, steps: 0 };
        self.handle(Event::Heartbeat { worker, running: running.iter().map(progress).collect() })
    }

    pub(super) fn worker(&self, worker: WorkerId) -> WorkerView {
        self.scheduler.worker(worker).expect("a worker with a session")
    }

    /// When the lease of the worker with the latest message ends, in a fixture with a
    /// configuration.
    pub(super) fn lease_ends(&self) -> Time {
        let heard = self.scheduler.workers().map(|worker| worker.heard).max();
        heard.unwrap_or_default() + LEASE
    }

    /// The attempts that run on a worker.
    pub(super) fn running(&self, worker: WorkerId) -> Vec<AttemptId> {
        let worker = self.scheduler.workers.get(worker).expect("a worker with a session");
        worker.running.iter().copied().collect()
    }

    pub(super) fn view(&self, job: JobId) -> JobView {
        self.scheduler.job(job).expect("a known job")
    }
}

/// Splits without a preference for any worker, so that tasks are placed in order.
pub(super) fn plan(splits: usize, partitions: u32) -> JobPlan {
    JobPlan {
        splits: vec![SplitPlan { bytes: 100, affinity: 0 }; splits].into(),
        partitions,
        max_attempts: 3,
        task_timeout: Duration::from_secs(600),
        worker_wait: Duration::from_secs(300),
        priority: 0,
        submitter: 0,
        skip_bad_records: None,
        needs: PlatformNeeds::default(),
    }
}

/// Attempt `number` of a map task of the first job.
pub(super) fn map(index: u32, number: u32) -> AttemptId {
    attempt(J1, StageId::MAP, index, number)
}

/// Attempt `number` of a reduce task of the first job.
pub(super) fn reduce(index: u32, number: u32) -> AttemptId {
    attempt(J1, StageId::REDUCE, index, number)
}

pub(super) fn attempt(job: JobId, stage: StageId, index: u32, number: u32) -> AttemptId {
    AttemptId { task: TaskId { job, stage, index }, number }
}

pub(super) fn accepted(job: JobId) -> Effect {
    Effect::Accepted { request: REQUEST, job }
}

/// The stats of an attempt with this digest.
pub(super) fn audited(digest: u64) -> AttemptStats {
    AttemptStats { audit: Audit { records: 1, digest }, ..AttemptStats::default() }
}

pub(super) fn noted(worker: WorkerId, attempt: AttemptId, won: bool) -> Effect {
    Effect::Noted { worker, attempt, won }
}

pub(super) fn assign_map(worker: WorkerId, attempt: AttemptId) -> Effect {
    Effect::Assign { worker, attempt, outputs: None, alone: false, skip: Vec::new() }
}

/// A map attempt that must run alone, and leave these records out.
pub(super) fn assign_alone(worker: WorkerId, attempt: AttemptId, skip: &[RecordPlace]) -> Effect {
    let skip = skip.iter().map(killed_by).collect();
    Effect::Assign { worker, attempt, outputs: None, alone: true, skip }
}

/// A record that has killed its process by SIGSEGV.
pub(super) fn killed_by(place: &RecordPlace) -> BadRecord {
    let message = "the process that ran user code was killed by SIGSEGV".to_string();
    BadRecord { place: place.clone(), message, record: None }
}

pub(super) fn assign_reduce(
    worker: WorkerId,
    attempt: AttemptId,
    version: u64,
    outputs: &[(AttemptId, WorkerId)],
) -> Effect {
    let outputs = MapOutputs { version, outputs: outputs.to_vec() };
    let outputs = Some(Arc::new(outputs));
    Effect::Assign { worker, attempt, outputs, alone: false, skip: Vec::new() }
}

pub(super) fn cancel_attempt(worker: WorkerId, attempt: AttemptId) -> Effect {
    Effect::CancelAttempt { worker, attempt }
}

pub(super) fn publish(winners: &[AttemptId]) -> Effect {
    Effect::Publish { job: J1, winners: winners.to_vec() }
}

pub(super) fn release(worker: WorkerId, job: JobId) -> Effect {
    Effect::Release { worker, job }
}

pub(super) fn ended(job: JobId, outcome: Outcome) -> Effect {
    Effect::Ended { job, outcome }
}

pub(super) fn failed(task: AttemptId, attempts: u32, cause: FailureCause) -> Outcome {
    Outcome::Failed(JobFailure::Task { task: task.task, attempts, cause })
}

pub(super) fn user_error() -> FailureCause {
    FailureCause::UserError { place: RecordPlace::default(), message: "not a number".into() }
}

pub(super) fn lost(worker: WorkerId) -> FailureCause {
    FailureCause::WorkerLost { worker, reason: "connection reset".into() }
}

/// The output of a map attempt could not be fetched from this worker.
pub(super) fn not_fetched(map: AttemptId, worker: WorkerId) -> FailureCause {
    FailureCause::FetchFailed {
        map_task: map.task.index,
        map_attempt: map.number,
        worker,
        message: "connection refused".into(),
    }
}
