//! All that the scheduler can ask for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windrow_model::{
    AttemptId, Audit, BadRecord, BadRecordBudget, FailureCause, JobId, TaskId, WorkerId,
};

use crate::event::RequestId;

/// Something to be done outside. The driver carries effects out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The answer to `Submit`: the job is accepted. It is the same for a submission that was
    /// accepted before.
    Accepted {
        /// Who asked.
        request: RequestId,
        /// The job's id.
        job: JobId,
    },
    /// The answer to `Resubmit`: no such job was accepted.
    NotSubmitted {
        /// Who asked.
        request: RequestId,
    },
    /// The answer to `Cancel`: whether the job could still be stopped.
    CancelAnswered {
        /// Who asked.
        request: RequestId,
        /// False when there was no such job, when it had ended, or when its output was being
        /// published already.
        cancelled: bool,
    },
    /// The answer to `WorkerJoined`, and to a `WorkerReturned` that was in time.
    Admitted {
        /// Who asked.
        request: RequestId,
        /// The worker's id.
        worker: WorkerId,
    },
    /// The answer to a `WorkerReturned` that came too late: what it did is lost, and it may join
    /// anew.
    TooLate {
        /// Who asked.
        request: RequestId,
    },
    /// The answer to a report of an attempt: it is noted for good, and need not be told again.
    Noted {
        /// Who reported.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// Whether it has won. What a loser left is not wanted. The same attempt gets the same
        /// answer as often as it asks, as long as its job runs.
        won: bool,
    },
    /// Run an attempt.
    Assign {
        /// On whom.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// For a reduce attempt: where the map outputs lie. `None` for a map attempt.
        outputs: Option<Arc<MapOutputs>>,
        /// Whether it must run in a process in which nothing else runs.
        alone: bool,
        /// Records, or groups, that it must leave out as bad ones, without trying them.
        skip: Vec<BadRecord>,
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
    /// All tasks are done: make their winners' parts visible, then report
    /// [`Event::Published`](crate::Event). Asked for again by a coordinator that takes over, so
    /// that it must be able to go on where another one has stopped.
    Publish {
        /// Which job.
        job: JobId,
        /// The winning attempt of each task that wrote a part, in order of parts.
        winners: Vec<AttemptId>,
    },
    /// The job has ended. Exactly once a job, and last of its effects, but for attempts that are
    /// cancelled again because a heartbeat still names them.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Its output is visible.
    Succeeded,
    /// It gave up.
    Failed(JobFailure),
    /// Somebody stopped it.
    Cancelled,
}

/// Why a job gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// More bad records were skipped than the job may skip.
    BadRecords {
        /// So many.
        skipped: u64,
        /// Of so many that were read, where the budget is a share.
        of: Option<u64>,
        /// So many were allowed.
        budget: BadRecordBudget,
        /// What one of them failed with.
        example: Option<FailureCause>,
    },
    /// More records of one task have killed the process that tried them than are looked for one by
    /// one.
    Poison {
        /// Which task.
        task: TaskId,
        /// So many.
        records: u32,
        /// How the last of them ended its process.
        cause: FailureCause,
    },
    /// There was no worker for longer than the job waits.
    NoWorkers,
    /// There were workers, but none that can run its program, for longer than the job waits.
    NoFit,
    /// Reducers have not read what the maps wrote: something was lost, doubled or changed on the
    /// way.
    Audit {
        /// What the maps wrote.
        written: Audit,
        /// What the reducers read.
        read: Audit,
    },
    /// All tasks were done, but the output could not be made visible.
    Publish(FailureCause),
    /// After a takeover, the output folder could not be had again.
    OutputLost(FailureCause),
}

/// Where the outputs of a job's map tasks lie. A new version is made when one moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapOutputs {
    /// Grows with each change.
    pub version: u64,
    /// By map task: the winning attempt and who has it.
    pub outputs: Vec<(AttemptId, WorkerId)>,
}
