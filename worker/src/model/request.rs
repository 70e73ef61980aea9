//! What an executor is asked to do: an attempt, its job, and what it reads.

use std::path::PathBuf;
use std::sync::Arc;

use windrow_jobs::program::SplitPoints;
use windrow_jobs::{
    AttemptId, BadRecord, BadRecordBudget, Compression, InputRange, JobExecutable, JobIdentity,
    SideFile, WorkerId,
};

/// What every task of a job needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobContext {
    /// The job, among all jobs of all clusters: its number, which attempts are named by, is given
    /// again by another coordinator.
    pub identity: JobIdentity,
    /// Registered name of the job.
    pub job: String,
    /// Its parameters, as JSON.
    pub params: String,
    /// Replace invalid UTF-8 instead of failing.
    pub lossy: bool,
    /// Size of the largest record that is read; a longer one is an error.
    pub record_bytes_max: u64,
    /// How many bad records the job skips; `None` fails at the first.
    pub skip_bad_records: Option<BadRecordBudget>,
    /// How to compress what is shuffled; `None` leaves it to the worker.
    pub compression: Option<Compression>,
    /// Most threads that a task may use.
    pub threads: Option<u32>,
    /// Most memory that the job may use here.
    pub memory_bytes: Option<u64>,
    /// How many sorted runs one merge reads at once; `None` leaves it to the memory.
    pub fan_in: Option<u32>,
    /// Number of partitions; 0 for a map-only job.
    pub partitions: u32,
    /// Where the ranges of an ordered job begin; empty for all others.
    pub split_points: Arc<SplitPoints>,
    /// Folder in which attempts write their parts, each under a name of its own.
    pub staging: PathBuf,
    /// The executable that has the job's code.
    pub program: JobExecutable,
    /// What that reads besides the input.
    pub files: Vec<SideFile>,
    /// What its code may write to besides. Says nothing where the job runs in the worker itself.
    pub writable: Vec<PathBuf>,
}

/// One attempt to be run.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Its name.
    pub attempt: AttemptId,
    /// Its job.
    pub context: Arc<JobContext>,
    /// What to do.
    pub work: Work,
    /// Whether it must run in a process in which nothing else runs: it is suspected of killing its
    /// process.
    pub alone: bool,
    /// Records, or groups, that are known to kill the process, and how: they count as bad without
    /// being tried.
    pub skip: Vec<BadRecord>,
}

/// The work of an attempt.
#[derive(Clone, Debug)]
pub enum Work {
    /// Map these ranges, in order.
    Map {
        /// All of one input of the job: its number.
        input: u32,
        /// What to read.
        ranges: Vec<InputRange>,
    },
    /// Reduce the partition whose number is the task's index, from these outputs.
    Reduce(Arc<Vec<WorkerOutputs>>),
}

/// The map outputs that one worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerOutputs {
    /// Who.
    pub worker: WorkerId,
    /// Where it serves them, `host:port`; empty in embedded mode.
    pub shuffle_address: String,
    /// Its machine: on the same one, files are read directly.
    pub host: String,
    /// Its folder of segments.
    pub directory: PathBuf,
    /// Task number and attempt number of each.
    pub outputs: Vec<(u32, u32)>,
}
