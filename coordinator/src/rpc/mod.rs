//! The gRPC edge: three services, and the conversions between messages and domain values. It
//! decides only whether a message is valid.

mod accept;
mod blobs;
mod convert;
mod driver_turns;
mod fair_limit;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod in_progress;
mod jobs;
mod large;
mod list;
mod logs;
mod pending_submissions;
mod plannings;
mod refusal;
pub(crate) mod sessions;
mod slow_reader;
mod watch;

pub(crate) use accept::Planner;
pub(crate) use blobs::BlobsService;
pub(crate) use driver_turns::DriverTurns;
pub(crate) use in_progress::InProgress;
pub(crate) use jobs::JobsService;
pub(crate) use large::{LargeRequests, RequestRoom};
pub(crate) use refusal::{build_name, stands_still};
pub(crate) use sessions::SessionsService;
