//! What a driver wants done. Whoever runs it does so, in order, and reports back where that is
//! said.

use std::time::Duration;

use windrow_jobs::{FailureCause, JobId};
use windrow_scheduler::journal::{Call, CallId};

use super::publication::ToPublish;
use super::{DriverPart, DriverRecord, DriverState};
use crate::output::{Place, Stop};

/// Something to be done outside.
pub(crate) enum Action {
    /// The store is to do this, beside all that is under way. Answered by
    /// [`answered`](super::Driver::answered).
    Store(CallId, Call<DriverRecord, DriverState, DriverPart>),
    /// Take the output folder again of a job that a former coordinator has accepted. Answered by
    /// `FolderTaken`.
    TakeFolder {
        job: JobId,
        /// Its registered name.
        name: String,
        place: Place,
        /// Whether the job has ended: then the folder is wanted only to remove what is left in it.
        ended: bool,
        /// It is to be tried after so long.
        after: Duration,
    },
    /// Make a job's output visible, unless that is stopped. Answered by `Published`.
    Publish {
        job: JobId,
        place: Place,
        publication: Result<Box<ToPublish>, FailureCause>,
        stop: Stop,
    },
    /// Remove all of a job that is not result; of one that has not succeeded, all. Answered by
    /// `CleanedUp`.
    CleanUp { job: JobId, place: Place, succeeded: bool },
    /// Give back a folder that was taken for nothing.
    GiveBack { place: Place },
}

impl Action {
    /// The output folder that it is about.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Store(..) => None,
            Self::TakeFolder { place, .. }
            | Self::Publish { place, .. }
            | Self::CleanUp { place, .. }
            | Self::GiveBack { place } => Some(place),
        }
    }
}
