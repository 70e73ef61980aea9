//! What a driver can be told and asked.

use std::sync::Arc;

use tokio::sync::oneshot;
use windrow_jobs::{FailureCause, JobId, WorkerId};
use windrow_scheduler::{JobPlan, SubmissionId, Unpublished};

use super::workers::JoinReply;
use super::{Driver, JobWork, Report, Returning, SessionEnd, SessionId, WorkerProfile};
use crate::output::Reservation;

/// What the driver can be told.
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
    /// `Action::CleanUp` has been carried out, as far as it could be.
    CleanedUp {
        job: JobId,
    },
}

/// What it answers even while nothing can be decided.
pub(crate) enum Question {
    Inspect(Box<dyn FnOnce(&Driver) + Send>),
    Stop { reply: oneshot::Sender<()> },
}

/// A job that has been planned, and what the scheduler needs to know of it: made by whoever plans,
/// since it takes a look at each split.
pub(crate) type Planned = (Arc<JobWork>, JobPlan);

/// A job that has been planned and has its output folder.
pub(crate) struct Submission {
    /// As its submitter has named it.
    pub(crate) id: SubmissionId,
    /// What it is made of.
    pub(crate) work: Arc<JobWork>,
    /// What the scheduler needs to know of it.
    pub(crate) plan: JobPlan,
    /// Its output folder.
    pub(crate) reservation: Arc<Reservation>,
}
