//! How many tasks and attempts of a stage are in which state.

use serde::{Deserialize, Serialize};

/// How many tasks and attempts there are in each state, or were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Attempts that run.
    pub(crate) running: u32,
    /// Tasks that are done.
    pub(crate) done: u32,
    /// The highest number of done tasks so far.
    pub(crate) most_done: u32,
    /// Attempts that ever won, including those that were lost later.
    pub(crate) won: u64,
    /// Attempts that were started.
    pub(crate) attempts: u32,
    /// Attempts that failed.
    pub(crate) failed: u32,
    /// Attempts, running or done, that were lost.
    pub(crate) lost: u32,
    /// Attempts that were started as backups.
    pub(crate) backups: u32,
    /// Backups that run.
    pub(crate) backups_running: u32,
    /// Backups that won.
    pub(crate) backups_won: u32,
    /// Attempts that lost the race against their backup or their original, or whose inputs were
    /// replaced.
    pub(crate) overtaken: u32,
}

/// Why an attempt ends without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// It has failed.
    Failed,
    /// It is lost with its worker or its assignment.
    Lost,
    /// Another attempt at its task is to take its place.
    Overtaken,
    /// Its job needs it no more. Not counted: views show how the job stood before.
    WithJob,
}

impl Counts {
    /// An attempt starts.
    pub(super) fn start(&mut self) {
        self.running += 1;
        self.attempts += 1;
    }

    /// The attempt that starts is a backup.
    pub(super) fn back_up(&mut self) {
        self.backups += 1;
        self.backups_running += 1;
    }

    /// The race of a task is over, with all of its attempts.
    pub(super) fn end_race(&mut self, has_backup: bool) {
        debug_assert!(self.running > u32::from(has_backup), "each attempt was counted");
        self.running -= 1 + u32::from(has_backup);
        self.backups_running -= u32::from(has_backup);
    }

    /// The other attempt of the race runs on.
    pub(super) fn go_on(&mut self) {
        self.running += 1;
    }

    /// An attempt has ended without success.
    pub(super) fn end(&mut self, end: AttemptEnd) {
        match end {
            AttemptEnd::Failed => self.failed += 1,
            AttemptEnd::Lost => self.lost += 1,
            AttemptEnd::Overtaken => self.overtaken += 1,
            AttemptEnd::WithJob => {}
        }
    }

    /// An attempt has won, and overtakes another one if there is one.
    pub(super) fn win(&mut self, backup_won: bool, overtakes: bool) {
        self.backups_won += u32::from(backup_won);
        self.done += 1;
        self.most_done = self.most_done.max(self.done);
        self.won += 1;
        self.overtaken += u32::from(overtakes);
    }

    /// A winner is lost.
    pub(super) fn lose(&mut self) {
        debug_assert!(self.done > 0, "the task was counted when it won");
        self.done -= 1;
        debug_assert!(self.done < self.most_done, "the task was done");
        self.lost += 1;
    }

    /// Checks that the counts agree with each other.
    pub(super) fn check(&self) {
        debug_assert!(self.done <= self.most_done, "the maximum is never exceeded");
        debug_assert!(
            u64::from(self.most_done) <= self.won && self.won <= u64::from(self.attempts),
            "a task that is done has won, and a winner was started"
        );
        debug_assert!(
            self.backups_won + self.backups_running <= self.backups,
            "only backups that were started run or win"
        );
        debug_assert!(self.backups <= self.attempts, "a backup is an attempt");
        debug_assert!(
            self.running + self.done + self.failed + self.lost + self.overtaken <= self.attempts,
            "an attempt ends once; ends with the job are not counted"
        );
    }
}
