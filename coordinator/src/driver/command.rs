//! Commands and questions to a driver.

use std::sync::Arc;

use tokio::sync::oneshot;
use windrow_jobs::{FailureCause, JobId, WorkerId};
use windrow_scheduler::{JobPlan, SubmissionId, Unpublished};

use super::workers::JoinReply;
use super::{Driver, JobWork, Report, Returning, SessionEnd, SessionId, WorkerProfile};
use crate::output::Reservation;

/// A command to the driver.
pub(crate) enum Command {
    Submit {
        id: SubmissionId,
        work: Planned,
        reply: oneshot::Sender<JobId>,
    },
    Resubmit {
        submission: SubmissionId,
        reply: oneshot::Sender<Option<JobId>>,
    },
    Cancel {
        job: JobId,
        reply: oneshot::Sender<bool>,
    },
    Join {
        profile: Box<WorkerProfile>,
        returning: Option<Returning>,
        reply: JoinReply,
    },
    Report {
        worker: WorkerId,
        session: SessionId,
        report: Report,
    },
    SessionEnded {
        worker: WorkerId,
        session: SessionId,
        end: SessionEnd,
    },
    /// The result of `Action::TakeFolder`.
    FolderTaken {
        job: JobId,
        result: Result<(), FailureCause>,
    },
    /// The result of `Action::Publish`.
    Published {
        job: JobId,
        result: Result<(), Unpublished>,
    },
    /// `Action::CleanUp` has been carried out as far as possible.
    CleanedUp {
        job: JobId,
    },
}

/// A question, which is answered even while nothing can be decided.
pub(crate) enum Question {
    Inspect(Box<dyn FnOnce(&Driver) + Send>),
    Stop { reply: oneshot::Sender<()> },
}

/// A planned job, and its plan for the scheduler. The planner makes both, since that looks at each
/// split.
pub(crate) type Planned = (Arc<JobWork>, JobPlan);

/// A planned job that has its output folder.
pub(crate) struct Submission {
    /// The submission's id, chosen by the submitter.
    pub(crate) id: SubmissionId,
    /// The job's content.
    pub(crate) work: Arc<JobWork>,
    /// The job's plan for the scheduler.
    pub(crate) plan: JobPlan,
    /// The job's output folder.
    pub(crate) reservation: Arc<Reservation>,
}
