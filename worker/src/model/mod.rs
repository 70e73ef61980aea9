//! The attempts of a worker as plain data, exchanged between its modules. Depends on no other
//! module.

mod progress;
mod report;
mod request;

pub(crate) use progress::Progress;
pub(crate) use report::{Finished, Stats};
pub(crate) use request::{JobContext, RunRequest, Work, WorkerOutputs};
