//! What waits in a worker's outbox: shared, so that a long outbox is small.

use std::sync::Arc;

use windrow_jobs::{AttemptId, JobId, Place, WorkerId};

use super::{JobWork, WorkerProfile};

/// An attempt, and what is to be heeded when it runs.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    /// Which.
    pub(crate) attempt: AttemptId,
    /// In a process in which nothing else runs.
    pub(crate) alone: bool,
    /// Records, or groups, that are bad ones, and must not be tried.
    pub(crate) skip: Vec<Place>,
}

/// A message to a worker.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    /// Run a map attempt.
    Map {
        /// Which.
        assignment: Assignment,
        /// Of which job.
        work: Arc<JobWork>,
    },
    /// Run a reduce attempt.
    Reduce {
        /// Which.
        assignment: Assignment,
        /// Of which job.
        work: Arc<JobWork>,
        /// Of the outputs to read, which were sent before.
        outputs_version: u64,
    },
    /// Where a job's map outputs lie.
    Outputs(Arc<OutputsTable>),
    /// A report has been noted.
    Noted {
        /// Of which attempt.
        attempt: AttemptId,
        /// Whether it has won.
        won: bool,
    },
    /// This heartbeat has been heard.
    HeartbeatAck(u64),
    /// Stop an attempt.
    Cancel(AttemptId),
    /// Delete what is held of a job.
    Release(JobId),
    /// Leave.
    Drained,
    /// The session ends with this reason. Always the last.
    End(String),
}

/// Where the outputs of a job's map tasks lie, by worker.
#[derive(Debug)]
pub(crate) struct OutputsTable {
    /// Whose.
    pub(crate) job: JobId,
    /// Grows with each change.
    pub(crate) version: u64,
    /// Every worker that holds some.
    pub(crate) holders: Vec<HeldOutputs>,
}

/// The map outputs that one worker holds.
#[derive(Debug)]
pub(crate) struct HeldOutputs {
    /// Who.
    pub(crate) worker: WorkerId,
    /// How to reach it; `None` when it has just left, so that the fetch fails and says so.
    pub(crate) profile: Option<Arc<WorkerProfile>>,
    /// Task and attempt number of each.
    pub(crate) outputs: Vec<(u32, u32)>,
}
