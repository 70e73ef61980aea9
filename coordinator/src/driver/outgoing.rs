//! The messages in a worker's outbox. They are shared, so that a long outbox is small.

use std::sync::{Arc, OnceLock};

use windrow_jobs::{AttemptId, BadRecord, JobId, WorkerId};
use windrow_proto::fragments::Packed;

use super::{JobWork, WorkerProfile};

/// An attempt, and how to run it.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) attempt: AttemptId,
    /// Whether to run it in a process of its own.
    pub(crate) alone: bool,
    /// Bad records or groups, which must be skipped.
    pub(crate) skip: Vec<BadRecord>,
}

/// An order to a worker. Orders are carried out in sequence.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    /// A message to many workers, sent before the orders that need it.
    Shared(Arc<Shared>),
    /// Run a map attempt.
    Map {
        assignment: Assignment,
        /// The job's content.
        work: Arc<JobWork>,
    },
    /// Run a reduce attempt.
    Reduce {
        assignment: Assignment,
        /// The version of the outputs to read, which were sent before.
        outputs_version: u64,
    },
    /// Stop an attempt.
    Cancel(AttemptId),
    /// End the processes of a job, and delete its files.
    Release {
        job: JobId,
        /// The ticket to answer with once the processes have ended; `None` if no answer is needed.
        ticket: Option<u64>,
    },
    /// The drain is complete; the worker may leave.
    Drained,
    /// The session ends for this reason. Always the last order.
    End(String),
}

/// An answer to a message of a worker. It depends on no order, and is sent before all waiting
/// orders.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Receipt {
    /// A report has been noted.
    Noted {
        attempt: AttemptId,
        /// Whether the attempt is the winner.
        won: bool,
    },
    /// This heartbeat was received.
    HeartbeatAck(u64),
}

/// A message to many workers. It is encoded once, by the first session that sends it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) content: SharedContent,
    packed: OnceLock<Packed>,
}

/// The content of a message to many workers.
#[derive(Debug)]
pub(crate) enum SharedContent {
    /// The context of every task of a job.
    Context(JobId, Arc<JobWork>),
    /// The split points of an ordered job.
    SplitPoints(JobId, Arc<JobWork>),
    /// The locations of a job's map outputs.
    Outputs(OutputsTable),
}

impl Shared {
    /// The message is encoded when it is first sent.
    pub(crate) fn new(content: SharedContent) -> Arc<Self> {
        Arc::new(Self { content, packed: OnceLock::new() })
    }

    /// The encoded message; `pack` encodes it on the first call.
    pub(crate) fn packed(&self, pack: impl FnOnce(&SharedContent) -> Packed) -> &Packed {
        self.packed.get_or_init(|| pack(&self.content))
    }
}

/// The locations of a job's map outputs: all of them, or those that have moved.
#[derive(Debug)]
pub(crate) struct OutputsTable {
    pub(crate) job: JobId,
    /// Increases with each change.
    pub(crate) version: u64,
    /// The version that this changes; `None` if this is the whole table, with all tasks in order.
    pub(crate) since: Option<u64>,
    /// Each map task, its attempt's number, and the index of its holder in `holders`.
    pub(crate) outputs: Vec<(u32, u32, u32)>,
    /// The workers that hold these outputs, by id.
    pub(crate) holders: Vec<OutputsHolder>,
}

/// A worker that holds map outputs.
#[derive(Debug)]
pub(crate) struct OutputsHolder {
    pub(crate) worker: WorkerId,
    /// How to reach the worker; `None` if it has just left, so that the fetch fails and is
    /// reported.
    pub(crate) profile: Option<Arc<WorkerProfile>>,
    /// The number of the worker's machine; 0 if unknown.
    pub(crate) host: u32,
    /// Whether other workers on the same machine may read its files.
    pub(crate) has_neighbours: bool,
}
