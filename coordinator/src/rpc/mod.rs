//! The gRPC edge: two services, and the conversions between messages and domain values. Nothing is decided here but
//! whether a message makes sense.

mod convert;
mod in_planning;
mod jobs;
mod refusal;
mod sessions;
mod watch;

pub(crate) use in_planning::InPlanning;
pub(crate) use jobs::JobsService;
pub(crate) use refusal::build_name;
pub(crate) use sessions::SessionsService;
