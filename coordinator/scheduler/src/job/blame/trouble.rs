//! What a task is charged with. Most tasks never are, so that it lies apart from them.
//!
//! No charge is for life: a job of days on machines that come and go meets hundreds of losses, and
//! is sound. Each kind is forgiven by what refutes it:
//!
//! ```text
//!  charge                                  forgiven when
//!  its attempts failed, or were lost       it succeeds
//!  its output was lost or not fetched,     the job gets further than ever before: another map
//!  or it could not fetch one               is done, or another reduce succeeds
//! ```
//!
//! So what takes its workers down each time it runs, or each time it is read, is still found.

use serde::{Deserialize, Serialize};
use windrow_model::{BadRecord, RecordPlace};

use crate::job::blame::FailedOn;

/// The charges against one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// Attempts that failed by the task's own fault since it last succeeded.
    pub(crate) failures: u32,
    /// Running attempts that were lost through no fault of the task since it last succeeded.
    pub(crate) losses: u32,
    /// Times that the process died in which it ran together with others, since it last succeeded.
    pub(crate) deaths: u32,
    /// Outputs of it that were lost with their worker.
    pub(crate) output_losses: SinceProgress,
    /// Attempts that failed because a map output could not be fetched; or outputs of it that could
    /// not be.
    pub(crate) fetch_failures: SinceProgress,
    /// Whether the process died in which it ran, so that it runs alone until it has succeeded.
    pub(crate) suspect: bool,
    /// Records, or groups, that have killed a process in which nothing else ran: they are bad ones,
    /// and are left out.
    pub(crate) poison: Vec<BadRecord>,
    /// Where a process has died that somebody else may have killed.
    pub(crate) suspected_place: Option<RecordPlace>,
    /// Where it has failed.
    pub(crate) failed_on: FailedOn,
    /// Where it could not fetch a map output.
    pub(crate) could_not_fetch_on: FailedOn,
}

/// How far a job has come: it only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Progress(pub(crate) u64);

/// Charges since the job last got further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinceProgress {
    count: u32,
    at: Progress,
}

impl SinceProgress {
    /// One more; returns how many there are now.
    pub(crate) fn add(&mut self, now: Progress) -> u32 {
        debug_assert!(self.at <= now, "a job never loses the progress that it has made once");
        self.count = if self.at < now { 1 } else { self.count.saturating_add(1) };
        self.at = now;
        self.count
    }
}

impl Trouble {
    /// Of a task that was never charged with anything.
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
