//! The actions that a driver requests. Its caller carries them out in order, and reports back where
//! an action says so.

use std::time::Duration;

use windrow_jobs::{FailureCause, JobId};
use windrow_scheduler::journal::{Call, CallId};

use super::publication::ToPublish;
use super::{DriverAttachment, DriverRecord, DriverState};
use crate::output::{OutputPaths, Stop};

/// An action outside the driver.
pub(crate) enum Action {
    /// A call to the store, concurrent with all others in flight. Answered by
    /// [`answered`](super::Driver::answered).
    Store(CallId, Call<DriverRecord, DriverState, DriverAttachment>),
    /// Take over the output folder of a job that a former coordinator has accepted. Answered by
    /// `FolderTaken`.
    TakeFolder {
        job: JobId,
        /// Its registered name.
        name: String,
        paths: OutputPaths,
        /// Whether the job has ended: then the folder is taken only for its cleanup.
        ended: bool,
        /// Delay before the try.
        after: Duration,
    },
    /// Make a job's output visible, unless the publication is stopped. Answered by `Published`.
    Publish {
        job: JobId,
        paths: OutputPaths,
        publication: Result<Box<ToPublish>, FailureCause>,
        stop: Stop,
    },
    /// Remove everything of a job but its results; if it has not succeeded, everything. Answered by
    /// `CleanedUp`.
    CleanUp { job: JobId, paths: OutputPaths, succeeded: bool },
    /// Give back a folder that no job needs.
    GiveBack { paths: OutputPaths },
}

impl Action {
    /// The output folder that the action is about.
    pub(crate) fn paths(&self) -> Option<&OutputPaths> {
        match self {
            Self::Store(..) => None,
            Self::TakeFolder { paths, .. }
            | Self::Publish { paths, .. }
            | Self::CleanUp { paths, .. }
            | Self::GiveBack { paths } => Some(paths),
        }
    }
}
