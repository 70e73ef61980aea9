//! Windrow's worker: runs attempts of tasks, keeps what they leave, and serves it to the other workers.

mod agent;
pub mod executor;
mod files;
mod memory;
mod rpc;
pub mod shuffle;
mod sync;
mod task;
#[cfg(test)]
mod testing;

pub use agent::{WorkerConfig, WorkerError, default_memory_bytes, run};
pub use rpc::{Connector, InvalidUrl};
