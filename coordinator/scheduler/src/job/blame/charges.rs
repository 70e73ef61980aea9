//! What a task is charged with. Kept outside the task, since most tasks are never charged.
//!
//! No charge is for life: a job that runs for days on machines that come and go meets hundreds of
//! losses through no fault of its own. Each kind of charge is dropped by what refutes it:
//!
//! ```text
//!  charge                                  dropped when
//!  its attempts failed, or were lost       it succeeds
//!  its output was lost or not fetched,     the job gets further than ever before: another map
//!  or it could not fetch one               is done, or another reduce succeeds
//! ```
//!
//! A task that takes its workers down each time it runs, or each time its output is read, is still
//! found.

use serde::{Deserialize, Serialize};
use windrow_model::{BadRecord, RecordPlace};

use crate::job::blame::FailedOn;

/// The charges against one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Charges {
    /// Attempts that failed by the task's own fault since it last succeeded.
    pub(crate) failures: u32,
    /// Running attempts that were lost through no fault of the task since it last succeeded.
    pub(crate) losses: u32,
    /// Deaths of a process that it shared with other attempts, since it last succeeded.
    pub(crate) deaths: u32,
    /// Its outputs that were lost with their worker.
    pub(crate) output_losses: SinceProgress,
    /// Attempts that failed because a map output could not be fetched; for a map, its outputs that
    /// could not be fetched.
    pub(crate) fetch_failures: SinceProgress,
    /// Whether its process died: it then runs alone until it has succeeded.
    pub(crate) suspect: bool,
    /// Records or groups that have killed a process in which nothing else ran: bad records, left
    /// out from then on.
    pub(crate) poison: Vec<BadRecord>,
    /// The record at which a process died that another attempt, or the kernel, may have killed.
    pub(crate) suspected_place: Option<RecordPlace>,
    /// The workers on which it has failed.
    pub(crate) failed_on: FailedOn,
    /// The workers on which it could not fetch a map output.
    pub(crate) could_not_fetch_on: FailedOn,
}

/// How far a job has come. It never decreases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Progress(pub(crate) u64);

/// Charges since the job last made progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinceProgress {
    count: u32,
    at: Progress,
}

impl SinceProgress {
    /// Adds a charge and returns how many there are now.
    pub(crate) fn add(&mut self, now: Progress) -> u32 {
        debug_assert!(self.at <= now, "progress never decreases");
        self.count = if self.at < now { 1 } else { self.count.saturating_add(1) };
        self.at = now;
        self.count
    }
}

impl Charges {
    /// The charges of a task that was never charged.
    pub(crate) const fn none() -> Self {
        let progress = SinceProgress { count: 0, at: Progress(0) };
        Self {
            failures: 0,
            losses: 0,
            deaths: 0,
            output_losses: progress,
            fetch_failures: progress,
            suspect: false,
            poison: Vec::new(),
            suspected_place: None,
            failed_on: FailedOn::nowhere(),
            could_not_fetch_on: FailedOn::nowhere(),
        }
    }

    /// The task has succeeded.
    pub(crate) fn forgive(&mut self) {
        (self.failures, self.losses, self.deaths) = (0, 0, 0);
        self.suspect = false;
    }
}
