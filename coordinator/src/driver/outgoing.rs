//! What waits in a worker's outbox: shared, so that a long outbox is small.

use std::sync::{Arc, OnceLock};

use windrow_jobs::{AttemptId, BadRecord, JobId, WorkerId};
use windrow_proto::pieces::Packed;

use super::{JobWork, WorkerProfile};

/// An attempt, and what is to be heeded when it runs.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    /// Which.
    pub(crate) attempt: AttemptId,
    /// In a process in which nothing else runs.
    pub(crate) alone: bool,
    /// Records, or groups, that are bad ones, and must not be tried.
    pub(crate) skip: Vec<BadRecord>,
}

/// An order to a worker. Orders are obeyed one after the other.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    /// What many workers are told alike; it is told before whatever needs it.
    Shared(Arc<Shared>),
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
        /// Of the outputs to read, which were sent before.
        outputs_version: u64,
    },
    /// Stop an attempt.
    Cancel(AttemptId),
    /// End the processes of a job, and delete what is held of it.
    Release {
        /// Which.
        job: JobId,
        /// What to say once its processes have ended; `None` where nobody waits for that.
        ticket: Option<u64>,
    },
    /// Leave.
    Drained,
    /// The session ends with this reason. Always the last.
    End(String),
}

/// An answer to something that a worker has said. It depends on no order, and is sent before all
/// orders that wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Receipt {
    /// A report has been noted.
    Noted {
        /// Of which attempt.
        attempt: AttemptId,
        /// Whether it has won.
        won: bool,
    },
    /// This heartbeat has been heard.
    HeartbeatAck(u64),
}

/// What many workers are told alike. It is encoded once, by the first session that sends it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What is told.
    pub(crate) content: SharedContent,
    packed: OnceLock<Packed>,
}

/// What is told to many.
#[derive(Debug)]
pub(crate) enum SharedContent {
    /// What every task of a job needs.
    Context(JobId, Arc<JobWork>),
    /// Where the ranges of an ordered job begin.
    SplitPoints(JobId, Arc<JobWork>),
    /// Where a job's map outputs lie.
    Outputs(OutputsTable),
}

impl Shared {
    /// Encoded when it is first sent.
    pub(crate) fn new(content: SharedContent) -> Arc<Self> {
        Arc::new(Self { content, packed: OnceLock::new() })
    }

    /// As it is sent: encoded by `pack` where that was not done before.
    pub(crate) fn packed(&self, pack: impl FnOnce(&SharedContent) -> Packed) -> &Packed {
        self.packed.get_or_init(|| pack(&self.content))
    }
}

/// Where the outputs of a job's map tasks lie, or which have moved.
#[derive(Debug)]
pub(crate) struct OutputsTable {
    /// Whose.
    pub(crate) job: JobId,
    /// Grows with each change.
    pub(crate) version: u64,
    /// The version to which this is a change; `None` if this is the whole, of all tasks in order.
    pub(crate) since: Option<u64>,
    /// Each map task, its attempt's number, and the place of its holder in `holders`.
    pub(crate) outputs: Vec<(u32, u32, u32)>,
    /// Every worker that holds any of these, by id.
    pub(crate) holders: Vec<OutputsHolder>,
}

/// A worker that holds map outputs.
#[derive(Debug)]
pub(crate) struct OutputsHolder {
    /// Who.
    pub(crate) worker: WorkerId,
    /// How to reach it; `None` when it has just left, so that the fetch fails and says so.
    pub(crate) profile: Option<Arc<WorkerProfile>>,
    /// A number for its machine; 0 where that is not known.
    pub(crate) host: u32,
    /// Whether other workers on its machine may read its files.
    pub(crate) has_neighbours: bool,
}
