//! A request to an executor: an attempt, its job, and its inputs.

use std::path::PathBuf;
use std::sync::Arc;

use windrow_jobs::partitioning::SplitPoints;
use windrow_jobs::{
    AttemptId, BadRecord, BadRecordBudget, Compression, InputRange, JobExecutable, JobIdentity,
    Location, SideFile, WorkerId,
};

/// The settings that all tasks of a job share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobContext {
    /// The job, unique among all jobs of all clusters. The number in attempt ids is not: another
    /// coordinator may give it again.
    pub identity: JobIdentity,
    /// Registered name of the job.
    pub job: String,
    /// Its parameters, as JSON.
    pub params: String,
    /// Replace invalid UTF-8 instead of failing.
    pub lossy: bool,
    /// Largest size of a record; a longer one is an error.
    pub record_bytes_max: u64,
    /// How many bad records the job may skip; `None` fails at the first.
    pub skip_bad_records: Option<BadRecordBudget>,
    /// Compression of the shuffle; `None` leaves it to the worker.
    pub compression: Option<Compression>,
    /// Most threads that a task may use.
    pub threads: Option<u32>,
    /// Most memory that the job may use here.
    pub memory_bytes: Option<u64>,
    /// How many sorted runs one merge reads at once; `None` derives it from the memory.
    pub fan_in: Option<u32>,
    /// Number of partitions; 0 for a map-only job.
    pub partitions: u32,
    /// The lower bounds of an ordered job's ranges; empty for all other jobs.
    pub split_points: Arc<SplitPoints>,
    /// Where attempts write their parts, each under a name of its own, until they are published.
    pub staging: Location,
    /// The executable that has the job's code.
    pub program: JobExecutable,
    /// The files that its code reads besides the input.
    pub files: Vec<SideFile>,
    /// The other paths to which its code may write. Ignored where the job runs in the worker
    /// itself.
    pub writable: Vec<PathBuf>,
}

/// One attempt to be run.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its job.
    pub context: Arc<JobContext>,
    /// Its work.
    pub work: Work,
    /// Whether nothing else may run in its process: it is suspected of killing its process.
    pub alone: bool,
    /// Records, or groups, that are known to kill the process, and how: they count as bad and are
    /// not tried.
    pub skip: Vec<BadRecord>,
}

/// The work of an attempt.
#[derive(Clone, Debug)]
pub enum Work {
    /// Map these ranges, in order.
    Map {
        /// The number of the job's input; all ranges belong to it.
        input: u32,
        /// The ranges.
        ranges: Vec<InputRange>,
    },
    /// Reduce the partition with the task's index, from these outputs.
    Reduce(Arc<Vec<WorkerOutputs>>),
}

/// The map outputs that one worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerOutputs {
    /// The worker.
    pub worker: WorkerId,
    /// The address at which it serves them, `host:port`; empty in embedded mode.
    pub shuffle_address: String,
    /// Its machine: workers on the same machine read the files directly.
    pub host: String,
    /// Its folder of segments.
    pub directory: PathBuf,
    /// Task number and attempt number of each output.
    pub outputs: Vec<(u32, u32)>,
}
