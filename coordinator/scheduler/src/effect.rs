//! The effects: all that the scheduler can ask for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windrow_model::{
    AttemptId, Audit, BadRecord, BadRecordBudget, FailureCause, JobId, TaskId, WorkerId,
};

use crate::event::RequestId;

/// Something to be done outside the scheduler. The driver carries effects out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The answer to `Submit`: the job is accepted. A repeated submission gets the same answer.
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
    /// The answer to a `WorkerReturned` that came too late: the worker's work is lost, and it may
    /// join anew.
    TooLate {
        /// Who asked.
        request: RequestId,
    },
    /// The answer to a report of an attempt: it is durable, and need not be repeated.
    Noted {
        /// Who reported.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// Whether it has won. The output of a loser is not needed. A repeated report gets the same
        /// answer, as long as the job runs.
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
        /// Whether it must run in a process of its own.
        alone: bool,
        /// Records or groups that it must leave out as bad, without trying them.
        skip: Vec<BadRecord>,
    },
    /// Stop an attempt whose result is not needed any more.
    CancelAttempt {
        /// On whom.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A draining worker runs nothing and holds no output that is still needed: it may go.
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
    /// [`Event::Published`](crate::Event). Must be idempotent: a coordinator that takes over asks
    /// for it again, wherever its predecessor stopped.
    Publish {
        /// Which job.
        job: JobId,
        /// The winning attempt of each task that wrote a part, in order of parts.
        winners: Vec<AttemptId>,
    },
    /// The job has ended. Exactly once per job, and last of its effects, except for attempts that
    /// are cancelled again because a heartbeat still names them.
    Ended {
        /// Which job.
        job: JobId,
        /// How.
        outcome: Outcome,
    },
    /// A worker may delete its data of the job.
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
    /// It failed.
    Failed(JobFailure),
    /// It was cancelled.
    Cancelled,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobFailure {
    /// A task failed too often, or permanently.
    Task {
        /// Which task.
        task: TaskId,
        /// How often it was tried.
        attempts: u32,
        /// The cause of its last failure.
        cause: FailureCause,
    },
    /// More bad records were skipped than the budget allows.
    BadRecords {
        /// So many.
        skipped: u64,
        /// Of how many records, if the budget is a share.
        of: Option<u64>,
        /// The budget.
        budget: BadRecordBudget,
        /// The failure of one of them.
        example: Option<FailureCause>,
    },
    /// More records of one task have killed their process than are worth a process each to find.
    Poison {
        /// Which task.
        task: TaskId,
        /// So many.
        records: u32,
        /// How the process died at the last of them.
        cause: FailureCause,
    },
    /// There was no worker for longer than the job waits.
    NoWorkers,
    /// There were workers, but none that can run its program, for longer than the job waits.
    NoFit,
    /// Reducers have not read what the maps wrote: pairs were lost, doubled or changed on the way.
    Audit {
        /// What the maps wrote.
        written: Audit,
        /// What the reducers read.
        read: Audit,
    },
    /// All tasks were done, but the output could not be made visible.
    Publish(FailureCause),
    /// After a takeover, the output folder could not be taken over.
    OutputLost(FailureCause),
}

/// Where the map outputs of a job lie. A new version is made when one moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapOutputs {
    /// Grows with each change.
    pub version: u64,
    /// By map task: the winning attempt and its worker.
    pub outputs: Vec<(AttemptId, WorkerId)>,
}
