//! The description of one job, as a submitter sends it: data only.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A job to run: which program, on what, to where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The registered name, such as `word-count`.
    pub job: String,
    /// The job's own parameters, as JSON.
    pub params: String,
    /// Absolute files, folders or glob patterns.
    pub inputs: Vec<String>,
    /// The absolute output folder.
    pub output: PathBuf,
    /// How to run it.
    pub options: JobOptions,
}

/// How to run a job. `None` lets the engine choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobOptions {
    /// Number of partitions, and so of parts.
    pub reducers: Option<u32>,
    /// Largest size of a map task's input.
    pub split_bytes: Option<u64>,
    /// Most threads that one task may use on a worker.
    pub threads: Option<u32>,
    /// Most memory that the job may use on one worker.
    pub memory_bytes: Option<u64>,
    /// How often a task may fail before the job fails.
    pub max_attempts: u32,
    /// How long an attempt may go without progress.
    pub task_timeout: Duration,
    /// How long the job waits while there is no worker.
    pub worker_wait: Duration,
    /// Jobs with a larger one go first; equal ones take turns.
    pub priority: i32,
    /// Replace invalid UTF-8 by U+FFFD instead of failing.
    pub lossy: bool,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            reducers: None,
            split_bytes: None,
            threads: None,
            memory_bytes: None,
            max_attempts: 4,
            task_timeout: Duration::from_secs(600),
            worker_wait: Duration::from_secs(300),
            priority: 0,
            lossy: false,
        }
    }
}
