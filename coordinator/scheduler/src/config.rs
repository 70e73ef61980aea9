//! The scheduler's limits. Limits of a single job come with its plan.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Silence after which a worker is lost. Any message renews the lease.
    pub lease: Duration,
    /// How long a worker with a broken connection may take to come back, within its lease. Most
    /// such workers have died, and their work waits this long. If most connections are broken, the
    /// network is at fault, and each worker has its whole lease.
    pub reconnect: Duration,
    /// Pause before a failed task's first retry; it doubles with each further failure (backoff).
    pub backoff_base: Duration,
    /// Longest pause before a retry.
    pub backoff_max: Duration,
    /// How often a task may be lost with its worker, through no fault of its own, before it is
    /// taken to be the cause. Attempts count until one succeeds; outputs until the job makes
    /// progress.
    pub losses_max: u32,
    /// How often a process that a task shares with others may die, until the task succeeds.
    pub deaths_max: u32,
    /// How many records or groups of one task may be left out because each has killed its process,
    /// within the job's budget of bad records. Each costs a process.
    pub poison_max: u32,
    /// How often a task may be retried because a map output could not be fetched, until the job
    /// makes progress.
    pub fetch_failures_max: u32,
    /// After so many reports about one map output, it is given up although its worker lives. The
    /// first may be a transient fault.
    pub output_reports_max: u32,
    /// After so many reports about the outputs that one worker holds of a job, all of them are
    /// given up.
    pub holder_reports_max: u32,
    /// After so many tasks of a job have failed on a worker, with no success in between, that job
    /// avoids it.
    pub worker_failures_max: u32,
    /// After so many strikes (failures that point to the machine) from more than one job, with no
    /// success in between, a worker is quarantined.
    pub strikes_max: u32,
    /// Length of the first quarantine; it doubles with each further one without a success in
    /// between.
    pub quarantine_base: Duration,
    /// Longest quarantine.
    pub quarantine_max: Duration,
    /// How long an attempt must have run before it may get a backup. `None`: no backups.
    pub backup_after: Option<Duration>,
    /// How often to search for attempts that need a backup.
    pub backup_period: Duration,
    /// How often the publication of a job may fail by transient faults before the job fails.
    pub publish_failures_max: u32,
    /// Tasks shorter than this are quick: a slot is given several of them, since each waits for the
    /// journal twice.
    pub quick_task: Duration,
    /// A job that could use a slot and was given none for this long gets one in eight, whatever its
    /// priority.
    pub starving_after: Duration,
    /// How many ended jobs are remembered, beside those with partial files.
    pub ended_jobs_max: usize,
    /// How many tasks of a job are journaled as one block.
    pub tasks_per_block: NonZeroU32,
    /// Varies the pauses before retries (jitter), so that tasks that failed together are not
    /// retried together.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            reconnect: Duration::from_secs(3),
            backoff_base: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            losses_max: 20,
            deaths_max: 20,
            poison_max: 100,
            fetch_failures_max: 100,
            output_reports_max: 2,
            holder_reports_max: 4,
            worker_failures_max: 3,
            strikes_max: 3,
            quarantine_base: Duration::from_secs(60),
            quarantine_max: Duration::from_secs(600),
            backup_after: Some(Duration::from_secs(5)),
            backup_period: Duration::from_secs(1),
            // With the pauses in between, a minute and a half.
            publish_failures_max: 10,
            quick_task: Duration::from_millis(10),
            starving_after: Duration::from_secs(600),
            ended_jobs_max: 1_000,
            // About 100 KB per block; a takeover reads 250 blocks for a million tasks.
            tasks_per_block: const { NonZeroU32::new(4_096).unwrap() },
            seed: 0,
        }
    }
}
