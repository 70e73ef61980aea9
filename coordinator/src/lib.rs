//! Windrow's coordinator: plans jobs, drives the scheduler, talks with workers and submitters,
//! publishes outputs.
//!
//! ```text
//!  rpc/      the gRPC edge: Jobs for submitters, Sessions for workers, conversions
//!  blobs/    programs and side files, by digest: taken from submitters, given to workers
//!  claims    which paths are whose: outputs, and what jobs may write to besides
//!  plan/     inputs to files to splits, and the numbers that the user left open
//!  driver/   the one task that owns the scheduler and carries out its effects
//!  journal/  what was decided, written down before anybody hears of it
//!  output/   the output folder: taken for one job, published or given back
//!  logs      what the processes of jobs have printed, for people
//!  security/ certificates for join tokens, and who may call what
//!  explain   why a job failed or waits, in one line
//!  hanging   which calls of the file system do not return
//!  parallel_io  calls of the file system for many files, on several threads
//! ```
//!
//! It decides nothing about tasks, which is the scheduler's, and touches no record, which is the
//! workers'. It runs no code of any job: what it has to know of one is data, which the submitter
//! brings.

// It panics where standard error cannot be written; `tracing`, and `cli::stderr`, do not.
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
pub use plan::{AllowedPaths, NotAllowed, PlanError, SamplePiece, sample_ranges};
pub use windrow_scheduler::journal::JournalError;
