//! All that the scheduler can ask for.

use std::sync::Arc;

use windrow_jobs::{AttemptId, FailureCause, JobId, TaskId, WorkerId};

use crate::event::RequestId;

/// Something to be done outside. The driver carries effects out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The answer to `Submit`: the job is accepted.
    Accepted {
        /// Who asked.
        request: RequestId,
        /// The job's id.
        job: JobId,
    },
    /// The answer to `Cancel`: whether the job could still be stopped.
    CancelAnswered {
        /// Who asked.
        request: RequestId,
        /// False when there was no such job, when it had ended, or when its output was being published already.
        cancelled: bool,
    },
    /// The answer to `WorkerJoined`.
    Admitted {
        /// Who asked.
        request: RequestId,
        /// The worker's id for this session.
        worker: WorkerId,
    },
    /// Run an attempt.
    Assign {
        /// On whom.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// For a reduce attempt: where the map outputs lie. `None` for a map attempt.
        outputs: Option<Arc<MapOutputs>>,
    },
    /// Stop an attempt, whose result is not wanted any more.
    CancelAttempt {
        /// On whom.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A draining worker has nothing left to do, and no output that anybody needs: it may go.
    Drained {
        /// Which worker.
        worker: WorkerId,
    },
    /// A worker's lease has run out: end its session. It counts as lost from here on.
    EndSession {
        /// Whose session.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// All tasks are done: make their winners' parts visible, then report [`Event::Published`](crate::Event).
    Publish {
        /// Which job.
        job: JobId,
        /// The winning attempt of each task that wrote a part, in order of parts.
        winners: Vec<AttemptId>,
    },
    /// The job has ended. Exactly once a job, and last of its effects, but for attempts that are cancelled again
    /// because a heartbeat still names them.
    Ended {
        /// Which job.
        job: JobId,
        /// How.
        outcome: Outcome,
    },
    /// A worker may delete what it holds of the job.
    Release {
        /// Which worker.
        worker: WorkerId,
        /// Which job.
        job: JobId,
    },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its output is visible.
    Succeeded,
    /// It gave up.
    Failed(JobFailure),
    /// Somebody stopped it.
    Cancelled,
}

/// Why a job gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobFailure {
    /// A task failed too often, or in a way that no retry helps.
    Task {
        /// Which task.
        task: TaskId,
        /// How often it was tried.
        attempts: u32,
        /// Of its last attempt.
        cause: FailureCause,
    },
    /// There was no worker for longer than the job waits.
    NoWorkers,
    /// All tasks were done, but the output could not be made visible.
    Publish(FailureCause),
}

/// Where the outputs of a job's map tasks lie. A new version is made when one moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapOutputs {
    /// Grows with each change.
    pub version: u64,
    /// By map task: the winning attempt and who has it.
    pub outputs: Vec<(AttemptId, WorkerId)>,
}
