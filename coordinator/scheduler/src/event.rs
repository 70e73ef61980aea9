//! All that can happen to the scheduler.

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

/// Names a caller who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A submission, as its submitter has named it: told twice, it is still one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubmissionId(pub u128);

/// Something that happened outside.
///
/// All but those that [are volatile](Self::is_volatile) are written to the journal, and told again,
/// in order and with their times, to a scheduler that takes over. What is decided must therefore
/// follow from them alone: from heartbeats follows only when a deadline passes, and that is an
/// event of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A planned job is to be run.
    Submit {
        /// Whom to answer.
        request: RequestId,
        /// Which submission this is.
        submission: SubmissionId,
        /// What to schedule.
        plan: JobPlan,
    },
    /// A submitter has not heard whether its job was accepted.
    Resubmit {
        /// Whom to answer.
        request: RequestId,
        /// Which submission.
        submission: SubmissionId,
    },
    /// Somebody wants the job to stop.
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
    /// A worker whose connection broke is back, and has kept what it had.
    WorkerReturned {
        /// Whom to answer.
        request: RequestId,
        /// Which worker.
        worker: WorkerId,
        /// What it has.
        inventory: Inventory,
    },
    /// A worker's connection broke. It may come back as long as its lease lasts, but not for long.
    WorkerDisconnected {
        /// Which worker.
        worker: WorkerId,
        /// Which connection: the one by which it made this request. If it has made another one
        /// since, nothing is broken.
        connection: RequestId,
    },
    /// A session has ended for good, for whatever reason.
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
    /// The process is gone in whose memory a worker held these map outputs.
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
    /// A coordinator that has taken over cannot have a job's output folder again: whatever the job
    /// did would be in vain.
    OutputLost {
        /// Which job.
        job: JobId,
        /// Why.
        cause: FailureCause,
    },
    /// A job has ended, and nothing partial is left of it, so that whoever waits for its end may
    /// know. From here on, it may be forgotten when younger ones have ended.
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
        /// Those that had passed, in order. By the time it comes to one of them, it may not matter
        /// any more.
        timers: Vec<Timer>,
    },
    /// Another coordinator decides from here on: its workers are still to come back.
    TookOver {
        /// Its limits.
        config: Config,
    },
    /// Nothing has happened. A coordinator that has nothing to write writes this: if its journal
    /// takes it, no other coordinator has replaced it.
    Beat,
}

impl Event {
    /// Whether it is forgotten when the coordinator dies.
    pub fn is_volatile(&self) -> bool {
        matches!(self, Self::Heartbeat { .. } | Self::Resubmit { .. })
    }

    /// About how many bytes it takes up in the journal.
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

    /// The worker whose message this is. A session that ends says nothing.
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
    /// Whether it may go well later: true of a file server that does not answer, false of a foreign
    /// file in the way.
    pub may_pass: bool,
}

/// A job as the scheduler needs to know it: counts and limits, no paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobPlan {
    /// One entry a map task. Shared, since there may be a million, and events and states are
    /// copied.
    pub splits: Arc<[SplitPlan]>,
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
    /// Whose job it is, the same number for all jobs of a submitter: among jobs of equal priority,
    /// submitters take turns first.
    pub submitter: u64,
    /// How many bad records it may skip; `None`: its workers skip none.
    pub skip_bad_records: Option<BadRecordBudget>,
    /// What a worker must have to run it.
    pub needs: PlatformNeeds,
}

/// A map task before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPlan {
    /// Size of its input.
    pub bytes: u64,
    /// The same for the same input in every job, so that rendezvous hashing finds the worker that
    /// had it before.
    pub affinity: u64,
}

/// What a worker offers when it joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOffer {
    /// For people.
    pub name: String,
    /// Identifies the machine and folder across sessions, for rendezvous hashing: stable when the
    /// worker restarts.
    pub identity: u64,
    /// Map attempts that it runs at once.
    pub map_slots: u32,
    /// Reduce attempts that it runs at once.
    pub reduce_slots: u32,
    /// What programs it can run.
    pub platform: Platform,
}

/// What a worker has that comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Attempts that run.
    pub running: BTreeSet<AttemptId>,
    /// Attempts that are over, and whose reports were not answered yet. They are told again after
    /// the return.
    pub unanswered: BTreeSet<AttemptId>,
    /// Attempts whose map output it holds, those among `unanswered` included.
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
    /// Grows as long as the attempt does anything, also while it sorts or merges.
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
    /// What the first of them failed with.
    pub skipped_example: Option<Box<FailureCause>>,
    /// Of a map: what it wrote for the shuffle, all partitions. Of a reduce: what it read of it.
    pub audit: Audit,
    /// Of a map of a job with a combiner.
    pub emitted: Option<Emitted>,
    /// How long it ran.
    pub elapsed: Duration,
    /// The user's counters.
    pub counters: Counters,
}
