//! Windrow's worker: runs attempts of tasks, keeps what they leave, and serves it to the other
//! workers.

// It panics where standard error cannot be written; `tracing`, and `cli::stderr`, do not.
#![warn(clippy::print_stderr)]

mod agent;
mod blobs;
mod cgroup;
mod channel;
mod child;
pub mod executor;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod identity;
mod memory;
mod orphans;
mod rpc;
pub mod shuffle;
mod sync;
mod task;
#[cfg(test)]
mod testing;
mod trail;

pub use agent::{WorkerConfig, WorkerError, default_memory_bytes, run};
pub use child::{ChildError, run as run_child};
pub use executor::{CHILD_ARGUMENT, ChildProgram, Confinement, JobLimits, JobUsers};
pub use memory::heap::{CountingAllocator, give_back_freed_memory, heap_bytes};
pub use orphans::Orphans;
pub use rpc::Connector;
pub use shuffle::FetchTimeouts;
