//! Where user code runs.
//!
//! The session hands over attempts as plain data ([`RunRequest`]) and gets plain data back ([`Finished`], or a
//! [`FailureCause`](windrow_jobs::FailureCause)). It does not know in which process they run.

mod config;
mod cores;
mod directory;
mod in_process;
mod job;
mod pool;
mod request;

pub use config::{ExecutorConfig, ExecutorError};
pub(crate) use cores::CoreLease;
#[cfg(test)]
pub(crate) use cores::Cores;
pub use in_process::InProcess;
pub use request::{
    FileRange, Finished, JobContext, Part, Progress, RunRequest, Stats, Work, WorkerOutputs,
};
