//! Windrow's worker: runs attempts of tasks, keeps their outputs, and serves them to other
//! workers.

// `eprintln!` panics where standard error cannot be written; `tracing`, and `cli::stderr`, do not.
#![warn(clippy::print_stderr)]

mod agent;
mod blobs;
mod breadcrumb;
mod cgroup;
mod channel;
mod child;
mod connector;
mod executor;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod input;
mod memory;
mod model;
mod orphans;
mod parts;
mod sample;
mod shuffle;
mod sync;
mod task;
#[cfg(test)]
mod testing;
mod wire;

pub use agent::{Stops, WorkerConfig, WorkerError, run};
pub use cgroup::default_memory_bytes;
pub use child::{ChildError, run as run_child};
pub use connector::Connector;
pub use executor::{CHILD_ARGUMENT, ChildCommand, Confinement, JobLimits, JobUsers};
pub use memory::heap::{CountingAllocator, give_back_freed_memory, heap_bytes};
pub use orphans::Orphans;
pub use sample::sample_ranges;
pub use shuffle::FetchTimeouts;
