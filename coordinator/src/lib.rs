//! Windrow's coordinator: plans jobs, drives the scheduler, talks with workers and submitters,
//! publishes outputs.
//!
//! ```text
//!  rpc/      the gRPC edge: Jobs for submitters, Sessions for workers, conversions
//!  blobs/    programs and side files, by digest: taken from submitters, given to workers
//!  claims    paths that belong to jobs: outputs, and declared paths
//!  plan/     inputs to files to splits, and the numbers that the user left open
//!  driver/   the one task that owns the scheduler and carries out its effects
//!  journal/  decisions, durable before anybody learns of them
//!  output/   the output folder: taken for one job, published or given back
//!  logs      the output of jobs' processes, for people
//!  security/ certificates for join tokens, and who may call what
//!  explain   why a job failed or waits, in one line
//!  hanging   calls of the file system that do not return
//!  parallel_io  calls of the file system for many files, on several threads
//! ```
//!
//! The scheduler makes the decisions about tasks, and workers process the records. The coordinator
//! runs no code of any job: the submitter describes the job as data.

// `eprintln!` panics if standard error cannot be written; `tracing` and `cli::stderr` do not.
#![warn(clippy::print_stderr)]

mod audit;
mod blobs;
mod claims;
mod config;
mod coordinator;
mod driver;
mod explain;
mod failpoint;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hanging;
mod journal;
mod logs;
mod output;
mod parallel_io;
mod plan;
mod rpc;
pub mod security;
#[cfg(test)]
mod simulation;
mod submitter;

pub use config::CoordinatorConfig;
pub use coordinator::{Coordinator, ServeError, StartError};
pub use driver::DriverError;
pub use failpoint::Failpoint;
pub use journal::JournalGone;
pub use output::{Verified, VerifyError, remove_from_temporary, verify};
pub use plan::{AllowedPaths, NotAllowed, PlanError};
pub use windrow_scheduler::journal::JournalError;
