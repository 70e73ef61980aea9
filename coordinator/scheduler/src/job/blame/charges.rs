//! What a task is charged with, and whether it is retried. Kept outside the task, since most tasks
//! are never charged.
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
use windrow_model::{BadRecord, FailureCause, FailureClass, RecordPlace, WorkerId};

use super::failed_on::FailedOn;
use crate::config::Config;

/// How often an input file may be found changed since it was planned: one worker may have an
/// outdated view of it.
const CHANGED_INPUTS_MAX: u32 = 2;

/// The charges against one task.
///
/// Invariants: a record is poison, or suspected, only after the task's process has died; each
/// record is poison once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Charges {
    /// Attempts that failed by the task's own fault since it last succeeded.
    failures: u32,
    /// Running attempts that were lost through no fault of the task since it last succeeded.
    losses: u32,
    /// Deaths of a process that it shared with other attempts, since it last succeeded.
    deaths: u32,
    /// Its outputs that were lost with their worker.
    output_losses: SinceProgress,
    /// Attempts that failed because a map output could not be fetched; for a map, its outputs that
    /// could not be fetched.
    fetch_failures: SinceProgress,
    /// Whether its process died: it then runs alone until it has succeeded.
    suspect: bool,
    /// Records or groups that have killed a process in which nothing else ran: bad records, left
    /// out from then on.
    poison: Vec<BadRecord>,
    /// The record at which a process died that another attempt, or the kernel, may have killed.
    suspected_place: Option<RecordPlace>,
    /// The workers on which it has failed.
    failed_on: FailedOn,
    /// The workers on which it could not fetch a map output.
    could_not_fetch_on: FailedOn,
}

/// How far a job has come. It never decreases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Progress(pub(crate) u64);

/// Charges since the job last made progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SinceProgress {
    count: u32,
    at: Progress,
}

impl SinceProgress {
    /// Adds a charge and returns how many there are now.
    fn add(&mut self, now: Progress) -> u32 {
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

    /// Charges the failure of a running attempt. Returns how often the task has now met this kind
    /// of failure, or `None` if it is not retried.
    pub(crate) fn charge(
        &mut self,
        cause: &FailureCause,
        max_attempts: u32,
        progress: Progress,
        config: &Config,
    ) -> Option<u32> {
        let class = cause.class();
        if class == FailureClass::Fatal {
            return None;
        }
        let (count, max) = match (cause, class) {
            _ if cause.died_alone() == Some(false) => (count(&mut self.deaths), config.deaths_max),
            (FailureCause::FetchFailed { .. }, _) => {
                (self.fetch_failures.add(progress), config.fetch_failures_max)
            }
            // A second worker has confirmed the change.
            (FailureCause::InputChanged { .. }, _) => {
                (count(&mut self.failures), max_attempts.min(CHANGED_INPUTS_MAX))
            }
            (_, FailureClass::Attempt) => (count(&mut self.failures), max_attempts),
            _ => (count(&mut self.losses), config.losses_max),
        };
        debug_assert!(count > 0, "this failure is counted");
        (count < max).then_some(count)
    }

    /// Charges the loss of an output to the task that made it. False if it is not made again.
    pub(crate) fn charge_output(
        &mut self,
        cause: &FailureCause,
        progress: Progress,
        config: &Config,
    ) -> bool {
        match cause {
            FailureCause::FetchFailed { .. } => {
                self.fetch_failures.add(progress) < config.fetch_failures_max
            }
            _ => self.output_losses.add(progress) < config.losses_max,
        }
    }

    /// Whether its process died: it then runs alone until it has succeeded.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// The records and groups that it leaves out as bad.
    pub(crate) fn poison(&self) -> &[BadRecord] {
        &self.poison
    }

    /// Whether it has failed on this worker, as far as it is remembered.
    pub(crate) fn has_failed_on(&self, worker: WorkerId) -> bool {
        self.failed_on.contains(worker)
    }

    /// Whether it could not fetch on this worker, as far as it is remembered.
    pub(crate) fn could_not_fetch_on(&self, worker: WorkerId) -> bool {
        self.could_not_fetch_on.contains(worker)
    }

    /// It failed on a worker, to which it does not return as long as there are others.
    pub(crate) fn note_failed_on(&mut self, worker: WorkerId) {
        self.failed_on.add(worker);
    }

    /// It could not fetch on a worker: that worker or the holder of the output is at fault.
    pub(crate) fn note_could_not_fetch_on(&mut self, worker: WorkerId) {
        self.could_not_fetch_on.add(worker);
    }

    /// What it read was at fault, wherever it ran.
    pub(crate) fn inputs_were_at_fault(&mut self) {
        self.failed_on = FailedOn::nowhere();
        self.could_not_fetch_on = FailedOn::nowhere();
    }

    /// Its process has died. `record` is the one at fault, if it is known and may be left out;
    /// `is_own_doing` says that nothing else can have killed the process.
    pub(crate) fn process_died(&mut self, record: Option<BadRecord>, is_own_doing: bool) -> Blame {
        self.suspect = true;
        // A record that it was told to leave out is not at fault again.
        let is_new =
            |record: &BadRecord| self.poison.iter().all(|known| known.place != record.place);
        let Some(record) = record.filter(is_new) else { return Blame::Cause };
        if !is_own_doing && !self.suspect_place(&record.place) {
            return Blame::Cause;
        }
        self.poison.push(record);
        Blame::Record
    }

    /// Suspects this record and charges the task, or, if it was suspected already, takes that
    /// charge back. Returns whether the suspicion is confirmed.
    fn suspect_place(&mut self, place: &RecordPlace) -> bool {
        let is_confirmed = self.suspected_place.as_ref() == Some(place);
        debug_assert!(self.suspect, "a record is suspected after its task's process has died");
        if is_confirmed {
            self.failures = self.failures.saturating_sub(1);
        } else {
            self.suspected_place = Some(place.clone());
        }
        is_confirmed
    }

    /// The task has succeeded.
    pub(crate) fn forgive(&mut self) {
        (self.failures, self.losses, self.deaths) = (0, 0, 0);
        self.suspect = false;
    }
}

/// What a death is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// One record or group, which the next attempt leaves out.
    Record,
    /// The task or the machine, as the cause says.
    Cause,
}

fn count(failures: &mut u32) -> u32 {
    *failures = failures.saturating_add(1);
    *failures
}
