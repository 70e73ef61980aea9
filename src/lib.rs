//! MapReduce in Rust: one program that runs on every core of a laptop, or on a cluster of workers.
//!
//! Implement [`Mapper`], take a ready [reducer](reducers) or write one, and hand
//! the [`Job`] to [`main`]. The binary then runs it embedded (`run`), submits it to a cluster
//! (`submit`), and is what the cluster executes (`coordinator`, `worker`).
//!
//! A binary that declares [`CountingAllocator`] as its global allocator keeps `--memory` even where
//! its own mappers and reducers hold much memory.
//!
//! This crate joins the others and adds the command line; it holds no scheduling, no shuffling and
//! no user loops.

// It panics where standard error cannot be written; `tracing`, and `cli::stderr`, do not.
#![warn(clippy::print_stderr)]

mod cli;
mod client;
mod embedded;
mod executable;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod job_process;
mod shipping;
mod submission;

use std::ffi::OsString;
use std::process::ExitCode;

pub use windrow_jobs::side_files::side_file;
pub use windrow_jobs::{
    Combiner, Concatenated, Counters, Death, Emit, Error, FailureCause, FailureClass, FirstPart,
    Grouping, HashPartitioner, Job, JobBuilder, JoinBuilder, Key, Mapper, MemoryLimit, Partitioner,
    RecordPlace, Reducer, Result, Tagged, TextLines, TextOutput, Value, ValueLines, Values,
    WholeKey, hash_key,
};
pub use windrow_jobs::{input, key, output, prelude, ready, reducers, scan, testing, value};
pub use windrow_worker::CountingAllocator;

/// Runs the command line of a program that offers `jobs`.
///
/// Call it before anything else: a worker starts the same program for each job, and what comes
/// before runs there, too, with a standard input that is the worker's.
///
/// Returns the exit status that scripts rely on: 0 success, 1 the job failed or could not run, 2
/// wrong usage, 3 this coordinator was replaced, 70 a bug in Windrow ended a role, 130 interrupted.
pub fn main(jobs: impl IntoIterator<Item = Job>) -> ExitCode {
    main_from(jobs, std::env::args_os())
}

/// Like [`main`], with other arguments than the process's; the program's name comes first.
pub fn main_from(
    jobs: impl IntoIterator<Item = Job>,
    arguments: impl IntoIterator<Item = OsString>,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let registry = windrow_jobs::Registry::new(jobs);
    if job_process::is_meant(&arguments) {
        return job_process::run(registry);
    }
    cli::main(registry, arguments).into()
}
