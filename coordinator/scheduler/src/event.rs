//! All that can happen to the scheduler.

use std::time::Duration;

use windrow_jobs::{AttemptId, Counters, FailureCause, JobId, WorkerId};

/// Names a caller who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A planned job is to be run.
    Submit {
        /// Whom to answer.
        request: RequestId,
        /// What to schedule.
        plan: JobPlan,
    },
    /// Somebody wants the job to stop.
    Cancel {
        /// Whom to answer.
        request: RequestId,
        /// Which job.
        job: JobId,
    },
    /// A worker has opened a session. Its id comes with the answer, [`Effect::Admitted`](crate::Effect::Admitted).
    WorkerJoined {
        /// Whom to answer.
        request: RequestId,
        /// What it offers.
        offer: WorkerOffer,
    },
    /// A session has ended, for whatever reason.
    WorkerLeft {
        /// Whose session.
        worker: WorkerId,
        /// How it was noticed.
        reason: String,
    },
    /// A worker wants to leave: it takes nothing new and finishes what it has.
    WorkerDraining {
        /// Which worker.
        worker: WorkerId,
    },
    /// A worker is alive, and its attempts have come this far.
    Heartbeat {
        /// Which worker.
        worker: WorkerId,
        /// Its running attempts.
        running: Vec<AttemptProgress>,
    },
    /// An attempt has succeeded.
    AttemptDone {
        /// Who reports.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// What it counted.
        stats: AttemptStats,
    },
    /// An attempt has failed.
    AttemptFailed {
        /// Who reports.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        cause: FailureCause,
    },
    /// The publication that [`Effect::Publish`](crate::Effect::Publish) asked for has ended.
    Published {
        /// Which job.
        job: JobId,
        /// Why it could not be published, if so.
        result: Result<(), FailureCause>,
    },
}

impl Event {
    /// The worker whose message this is. A session that ends says nothing.
    pub(crate) fn sender(&self) -> Option<WorkerId> {
        match *self {
            Self::WorkerDraining { worker }
            | Self::Heartbeat { worker, .. }
            | Self::AttemptDone { worker, .. }
            | Self::AttemptFailed { worker, .. } => Some(worker),
            Self::Submit { .. }
            | Self::Cancel { .. }
            | Self::WorkerJoined { .. }
            | Self::WorkerLeft { .. }
            | Self::Published { .. } => None,
        }
    }
}

/// A job as the scheduler needs to know it: counts and limits, no paths.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPlan {
    /// One entry a map task.
    pub splits: Vec<SplitPlan>,
    /// Number of reduce tasks; 0 for a map-only job.
    pub partitions: u32,
    /// How often a task may fail before the job does.
    pub max_attempts: u32,
    /// How long an attempt may go without progress.
    pub task_timeout: Duration,
    /// How long the job waits while there is no worker.
    pub worker_wait: Duration,
    /// Jobs with a larger one go first; equal ones take turns.
    pub priority: i32,
}

/// A map task before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitPlan {
    /// Size of its input.
    pub bytes: u64,
    /// The same for the same input in every job, so that rendezvous hashing finds the worker that had it before.
    pub affinity: u64,
}

/// What a worker offers when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerOffer {
    /// For people.
    pub name: String,
    /// Identifies the machine and folder across sessions, for rendezvous hashing: stable when the worker restarts.
    pub identity: u64,
    /// Map attempts that it runs at once.
    pub map_slots: u32,
    /// Reduce attempts that it runs at once.
    pub reduce_slots: u32,
}

/// How far a running attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptProgress {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Records read so far.
    pub records: u64,
    /// Bytes read so far.
    pub bytes: u64,
    /// Grows as long as the attempt does anything, also while it sorts or merges.
    pub steps: u64,
}

/// What a finished attempt counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptStats {
    /// Records read.
    pub input_records: u64,
    /// Bytes read.
    pub input_bytes: u64,
    /// Records written.
    pub output_records: u64,
    /// Bytes written.
    pub output_bytes: u64,
    /// How long it ran.
    pub elapsed: Duration,
    /// The user's counters.
    pub counters: Counters,
}
