//! What an observer sees: snapshots, made on demand.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, Counters, FailureCause, JobId, TaskId, WorkerId};

use crate::effect::Outcome;
use crate::time::Time;

/// A job at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Which job.
    pub job: JobId,
    /// Where it stands.
    pub state: JobState,
    /// Its map tasks.
    pub map: StageView,
    /// Its reduce tasks.
    pub reduce: StageView,
    /// Sums over the winning attempts.
    pub counters: Counters,
    /// The first map task whose second run wrote something else, if there is one. The output still
    /// has the pairs of one run of each map, but another run of the job may give a different
    /// output.
    pub nondeterministic: Option<u32>,
    /// Workers that the job avoids as long as others can run it, since several of its tasks have
    /// failed there.
    pub avoided: Vec<WorkerId>,
    /// Why the job makes no progress, if it makes none.
    pub waiting: Option<Waiting>,
    /// When it was submitted.
    pub submitted: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// The winning attempt that took longest so far.
    pub slowest: Option<SlowestTask>,
    /// Bytes that finished map tasks left for the shuffle.
    pub shuffle_bytes: u64,
    /// Bytes that the winners of the last stage wrote.
    pub output_bytes: u64,
    /// Records that the winners of the last stage wrote.
    pub output_records: u64,
    /// Bad records that the winners of all stages have skipped.
    pub skipped_records: u64,
}

/// The states of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Tasks wait or run.
    Running,
    /// All tasks are done, and the output is being made visible.
    Publishing,
    /// It is over.
    Ended(Outcome),
}

/// One stage of a job at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageView {
    /// Number of tasks.
    pub tasks: u32,
    /// Attempts that run now.
    pub running: u32,
    /// Tasks that are done.
    pub done: u32,
    /// Attempts that were ever started.
    pub attempts: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// Attempts, running or done, that were lost with their worker or whose output could not be
    /// fetched.
    pub lost: u32,
    /// Attempts that were started as backups of slow ones.
    pub backups: u32,
    /// Backups that won.
    pub backups_won: u32,
    /// Records read by winners and running attempts.
    pub records: u64,
    /// Bytes read, likewise.
    pub bytes: u64,
    /// Bytes to read in all, as far as known.
    pub total_bytes: u64,
}

/// Why a job makes no progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// There is no worker; the job fails unless one comes.
    NoWorkers {
        /// When it gives up.
        gives_up_at: Time,
    },
    /// No worker present can run its program; the job fails unless one comes that can.
    NoFit {
        /// When it gives up.
        gives_up_at: Time,
    },
    /// Attempts run, but all of them have made no progress for a while: their processes may hang.
    Silent {
        /// One of them.
        attempt: AttemptId,
        /// Where it runs.
        worker: WorkerId,
        /// How many there are.
        attempts: u32,
        /// When any of them last made progress.
        since: Time,
    },
    /// All workers that could run its program are disconnected, and have time to come back.
    Away {
        /// One of them.
        worker: WorkerId,
        /// How many there are.
        workers: u32,
    },
    /// No worker has a free slot that the job may use: other jobs have them all, or the job avoids
    /// the free ones.
    Slots,
    /// Its failed tasks wait for their next attempt.
    Backoff,
    /// Its output could not be published, which is retried.
    Publication {
        /// When.
        again_at: Time,
        /// The latest failure.
        cause: Box<FailureCause>,
    },
}

/// The task that took longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowestTask {
    /// Which task.
    pub task: TaskId,
    /// How long its winner ran.
    pub elapsed: Duration,
    /// Where.
    pub worker: WorkerId,
}

/// A worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its id.
    pub worker: WorkerId,
    /// Its name.
    pub name: String,
    /// Attempts that it runs.
    pub running: u32,
    /// Attempts that it finished.
    pub done: u64,
    /// Attempts that failed on it.
    pub failed: u64,
    /// Whether it is leaving.
    pub draining: bool,
    /// Whether it is disconnected, and may still come back.
    pub away: bool,
    /// Whether it is quarantined: it gets no new task because its machine fails.
    pub quarantined: bool,
    /// Whether it is on probation: one attempt at a time after a quarantine, until one succeeds.
    pub on_probation: bool,
    /// When it last spoke.
    pub heard: Time,
}
