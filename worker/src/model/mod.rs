//! What the parts of a worker tell each other of attempts, as plain data. Knows no other part.

mod progress;
mod report;
mod request;

pub(crate) use progress::Progress;
pub(crate) use report::{Finished, Stats};
pub(crate) use request::{JobContext, RunRequest, Work, WorkerOutputs};
