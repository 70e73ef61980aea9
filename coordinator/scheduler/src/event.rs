//! The events: all that can happen to the scheduler.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_model::{
    AttemptId, Audit, BadRecordBudget, Counters, Emitted, FailureCause, JobId, Platform,
    PlatformNeeds, WorkerId,
};

use crate::config::Config;
use crate::time::Timer;

/// Identifies a caller that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A submission, as its submitter has named it, which makes it idempotent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubmissionId(pub u128);

/// Something that happened outside the scheduler.
///
/// All events but the [volatile](Self::is_volatile) ones are journaled, and replayed in order and
/// with their times to a scheduler that takes over. Decisions must therefore depend on them alone:
/// heartbeats only move deadlines, and a deadline that passes is an event of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A planned job is submitted.
    Submit {
        /// Whom to answer.
        request: RequestId,
        /// Which submission this is.
        submission: SubmissionId,
        /// What to schedule.
        plan: JobPlan,
    },
    /// A submitter asks whether its job was accepted.
    Resubmit {
        /// Whom to answer.
        request: RequestId,
        /// Which submission.
        submission: SubmissionId,
    },
    /// A user cancels the job.
    Cancel {
        /// Whom to answer.
        request: RequestId,
        /// Which job.
        job: JobId,
    },
    /// A worker has opened a session. Its id comes with the answer,
    /// [`Effect::Admitted`](crate::Effect::Admitted).
    WorkerJoined {
        /// Whom to answer.
        request: RequestId,
        /// What it offers.
        offer: WorkerOffer,
    },
    /// A worker whose connection broke is back, and has kept its work.
    WorkerReturned {
        /// Whom to answer.
        request: RequestId,
        /// Which worker.
        worker: WorkerId,
        /// What it has.
        inventory: Inventory,
    },
    /// A worker's connection broke. It has a part of its lease to come back.
    WorkerDisconnected {
        /// Which worker.
        worker: WorkerId,
        /// Which connection: the one that made this request. If the worker has a newer one, nothing
        /// is broken.
        connection: RequestId,
    },
    /// A session has ended for good.
    WorkerLeft {
        /// Whose session.
        worker: WorkerId,
        /// How it was noticed.
        reason: String,
    },
    /// A worker drains: it takes no new tasks and finishes what it runs.
    WorkerDraining {
        /// Which worker.
        worker: WorkerId,
    },
    /// A worker is alive, and reports the progress of its attempts.
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
    /// The process that held these map outputs in memory is gone.
    OutputsLost {
        /// Who held them.
        worker: WorkerId,
        /// The attempts that made them.
        outputs: Vec<AttemptId>,
    },
    /// The publication that [`Effect::Publish`](crate::Effect::Publish) asked for has ended.
    Published {
        /// Which job.
        job: JobId,
        /// Why it could not be published, if so. Nothing of it is visible then.
        result: Result<(), Unpublished>,
    },
    /// A coordinator that has taken over could not take over a job's output folder: the job cannot
    /// succeed.
    OutputLost {
        /// Which job.
        job: JobId,
        /// Why.
        cause: FailureCause,
    },
    /// The partial files of an ended job are gone, so that its outcome may be told. From here on it
    /// may be forgotten, once enough younger jobs have ended.
    CleanedUp {
        /// Which job.
        job: JobId,
    },
    /// An attempt was found to be slow. See the scheduler's `placement::backup`.
    BackUp {
        /// Which attempts.
        attempts: Vec<AttemptId>,
    },
    /// Deadlines have passed.
    Elapsed {
        /// The deadlines, in order. An earlier one may make a later one obsolete.
        timers: Vec<Timer>,
    },
    /// Another coordinator has taken over: its workers are still to come back.
    TookOver {
        /// Its limits.
        config: Config,
    },
    /// Nothing has happened. A coordinator without other events writes this: if its journal accepts
    /// it, no other coordinator has taken over.
    Beat,
}

impl Event {
    /// Whether it is not journaled.
    pub fn is_volatile(&self) -> bool {
        matches!(self, Self::Heartbeat { .. } | Self::Resubmit { .. })
    }

    /// The approximate size in the journal.
    pub fn bytes(&self) -> usize {
        let attempts = |count: usize| count * size_of::<AttemptId>();
        let more = match self {
            Self::Submit { plan, .. } => size_of_val(&*plan.splits),
            Self::WorkerReturned { inventory, .. } => attempts(
                inventory.running.len() + inventory.unanswered.len() + inventory.outputs.len(),
            ),
            Self::OutputsLost { outputs, .. } => attempts(outputs.len()),
            Self::BackUp { attempts: slow } => attempts(slow.len()),
            Self::Elapsed { timers } => timers.len() * size_of::<Timer>(),
            _ => 0,
        };
        size_of::<Self>() + more
    }

    /// The worker that sent this event. The end of a session is no message.
    pub(crate) fn sender(&self) -> Option<WorkerId> {
        match *self {
            Self::WorkerDraining { worker }
            | Self::Heartbeat { worker, .. }
            | Self::AttemptDone { worker, .. }
            | Self::AttemptFailed { worker, .. }
            | Self::OutputsLost { worker, .. } => Some(worker),
            Self::Submit { .. }
            | Self::Cancel { .. }
            | Self::WorkerJoined { .. }
            | Self::Resubmit { .. }
            | Self::WorkerReturned { .. }
            | Self::WorkerDisconnected { .. }
            | Self::WorkerLeft { .. }
            | Self::Published { .. }
            | Self::OutputLost { .. }
            | Self::CleanedUp { .. }
            | Self::BackUp { .. }
            | Self::Elapsed { .. }
            | Self::TookOver { .. }
            | Self::Beat => None,
        }
    }
}

/// Why an output could not be made visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpublished {
    /// What went wrong. Boxed, to keep results small.
    pub cause: Box<FailureCause>,
    /// Whether the fault is transient: true of a file server that does not answer, false of a
    /// foreign file in the way.
    pub may_pass: bool,
}

/// A job as the scheduler needs to know it: counts and limits, no paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobPlan {
    /// One entry per map task. Shared, since there may be a million, and events and states are
    /// copied.
    pub splits: Arc<[SplitPlan]>,
    /// Number of reduce tasks; 0 for a map-only job.
    pub partitions: u32,
    /// How often a task may fail before the job does.
    pub max_attempts: u32,
    /// How long an attempt may go without progress.
    pub task_timeout: Duration,
    /// How long the job waits while no worker can run it.
    pub worker_wait: Duration,
    /// Jobs of higher priority go first; equal ones share the slots fairly.
    pub priority: i32,
    /// The submitter, the same number for all its jobs: jobs of equal priority share the slots by
    /// submitter first.
    pub submitter: u64,
    /// Its budget of bad records; `None`: it skips none.
    pub skip_bad_records: Option<BadRecordBudget>,
    /// The platform that a worker must have to run it.
    pub needs: PlatformNeeds,
}

/// A map task before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPlan {
    /// Size of its input.
    pub bytes: u64,
    /// The same for the same input in every job, so that rendezvous hashing finds the worker that
    /// read it before.
    pub affinity: u64,
}

/// What a worker offers when it joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOffer {
    /// For people.
    pub name: String,
    /// Identifies the machine and folder across sessions, for rendezvous hashing and quarantine: a
    /// restart does not change it.
    pub identity: u64,
    /// Map attempts that it runs at once.
    pub map_slots: u32,
    /// Reduce attempts that it runs at once.
    pub reduce_slots: u32,
    /// The platform, which decides on the programs that it can run.
    pub platform: Platform,
}

/// What a returning worker has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Attempts that run.
    pub running: BTreeSet<AttemptId>,
    /// Attempts that have ended, and whose reports were not answered yet. The reports are repeated
    /// after the return.
    pub unanswered: BTreeSet<AttemptId>,
    /// Attempts whose map output it holds, including those among `unanswered`.
    pub outputs: BTreeSet<AttemptId>,
}

/// How far a running attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptProgress {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Records read so far.
    pub records: u64,
    /// Bytes read so far.
    pub bytes: u64,
    /// Grows as long as the attempt does anything, including sorting and merging.
    pub steps: u64,
}

/// What a finished attempt counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStats {
    /// Records read.
    pub input_records: u64,
    /// Bytes read.
    pub input_bytes: u64,
    /// Records written.
    pub output_records: u64,
    /// Bytes written.
    pub output_bytes: u64,
    /// Bad records that it has skipped.
    pub skipped_records: u64,
    /// The failure of the first of them.
    pub skipped_example: Option<Box<FailureCause>>,
    /// Of a map: the audit of what it wrote for the shuffle, all partitions. Of a reduce: the audit
    /// of what it read.
    pub audit: Audit,
    /// Of a map with a combiner: what the mapper emitted before it was combined.
    pub emitted: Option<Emitted>,
    /// How long it ran.
    pub elapsed: Duration,
    /// The user's counters.
    pub counters: Counters,
}
