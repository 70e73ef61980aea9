//! The scheduler's limits. Those of one job come with its plan, not from here.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How patient the scheduler is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Silence after which a worker counts as lost. Any message renews it.
    pub lease: Duration,
    /// How long a worker whose connection broke may take to come back, if its lease does not end
    /// before. A process that has died does not come back, so that this is how long its work waits.
    /// Where most connections are broken, the workers are not at fault, and each has its whole
    /// lease.
    pub reconnect: Duration,
    /// Pause before a failed task's first retry; each further failure doubles it.
    pub backoff_base: Duration,
    /// Longest pause before a retry.
    pub backoff_max: Duration,
    /// How often a task may be lost with its worker, through no fault of its own, before it is held
    /// to be what ends them. Attempts that run count until one succeeds; outputs until the job gets
    /// further.
    pub losses_max: u32,
    /// How often the process may die in which a task runs together with others, until it succeeds.
    pub deaths_max: u32,
    /// How many records, or groups, of one task are left out because each has killed the process
    /// that tried it, if the job may skip so many. Each costs a process.
    pub poison_max: u32,
    /// How often a task may be tried again because a map output could not be fetched, until the job
    /// gets further.
    pub fetch_failures_max: u32,
    /// After so many reports about one map output, it is given up although its worker lives. The
    /// first may be a passing fault.
    pub output_reports_max: u32,
    /// After so many reports about the outputs that one worker holds of a job, all of them are
    /// given up.
    pub holder_reports_max: u32,
    /// After so many tasks of a job have failed on a worker, with no success in between, that job
    /// avoids it.
    pub worker_failures_max: u32,
    /// After so many failures that speak of the machine, of more than one job, with no success in
    /// between, a worker is quarantined.
    pub strikes_max: u32,
    /// How long the first time; it doubles with each that follows without a success in between.
    pub quarantine_base: Duration,
    /// Longest quarantine.
    pub quarantine_max: Duration,
    /// An attempt must have run for so long before a backup of it is started. `None`: none ever is.
    pub backup_after: Option<Duration>,
    /// How often it is looked for attempts that need a backup.
    pub backup_period: Duration,
    /// How often the publication of a job may fail for a reason that may pass, before the job does.
    pub publish_failures_max: u32,
    /// Tasks that take less than this are given to workers several to a slot, since each waits
    /// for the journal twice.
    pub quick_task: Duration,
    /// A job that could use a slot and was given none for so long gets one in eight, whatever its
    /// priority.
    pub starving_after: Duration,
    /// How many ended jobs can still be seen, beside those of which something partial is left.
    pub ended_jobs_max: usize,
    /// So many tasks of a job are written to the journal together, when one of them has changed.
    pub tasks_per_block: NonZeroU32,
    /// Varies the pauses before retries, so that tasks that failed together do not return together.
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
            // With the pauses between: for a minute and a half.
            publish_failures_max: 10,
            quick_task: Duration::from_millis(10),
            starving_after: Duration::from_secs(600),
            ended_jobs_max: 1_000,
            // About 100 KB; a takeover reads 250 of them for a million tasks.
            tasks_per_block: const { NonZeroU32::new(4_096).unwrap() },
            seed: 0,
        }
    }
}
