//! Runs rival programs on the same files, in turn, and compares their costs and answers.

pub mod answer;
pub mod cluster;
pub mod data;
pub mod measure;
pub mod options;
pub mod own_job;
pub mod report;
pub mod rivals;
pub mod rows;

use std::error::Error;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The program under test.
pub const WINDROW: &str = env!("CARGO_BIN_EXE_windrow");
