//! Fair sharing between submitters: among jobs of one priority, each submitter gets the same number
//! of slots, however many jobs it has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// All submitters with jobs that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Submitters(BTreeMap<u64, Submitter>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Submitter {
    jobs: u32,
    /// When one of its jobs was last given a slot, counted in slots given to all jobs. Kept here,
    /// since its jobs may be many and short.
    turn: u64,
}

impl Submitters {
    /// Counts a job of a submitter that begins.
    pub(crate) fn begin(&mut self, submitter: u64) {
        self.0.entry(submitter).or_default().jobs += 1;
    }

    /// Counts a job of a submitter that has ended.
    pub(crate) fn end(&mut self, submitter: u64) {
        let known = self.0.get_mut(&submitter);
        debug_assert!(known.is_some(), "a job that ends has begun");
        let Some(known) = known else { return };
        known.jobs -= 1;
        if known.jobs == 0 {
            self.0.remove(&submitter);
        }
    }

    /// Notes that a job of a submitter was given a slot.
    pub(crate) fn serve(&mut self, submitter: u64, turn: u64) {
        if let Some(known) = self.0.get_mut(&submitter) {
            debug_assert!(known.turn < turn, "each slot given has a number of its own");
            known.turn = turn;
        }
    }

    /// Whether there is more than one submitter.
    pub(crate) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// When a submitter was last given a slot.
    pub(crate) fn turn(&self, submitter: u64) -> u64 {
        self.0.get(&submitter).map_or(0, |known| known.turn)
    }

    /// How many jobs each submitter has.
    pub(crate) fn jobs(&self) -> BTreeMap<u64, u32> {
        self.0.iter().map(|(submitter, known)| (*submitter, known.jobs)).collect()
    }
}

/// When a job was last given a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Served {
    turn: u64,
    at: Time,
}

impl Served {
    /// A job that was never given a slot counts from its submission.
    pub(super) fn at_submission(now: Time) -> Self {
        Self { turn: 0, at: now }
    }

    /// Counted in slots given to all jobs.
    pub(crate) fn turn(self) -> u64 {
        self.turn
    }

    /// The moment, or that of its submission.
    pub(crate) fn at(self) -> Time {
        self.at
    }

    /// It is given a slot, the `turn`th of all jobs.
    pub(super) fn serve(&mut self, turn: u64, now: Time) {
        debug_assert!(self.turn < turn, "slots are numbered in the order in which they are given");
        debug_assert!(self.at <= now, "a job is not served in the future");
        *self = Self { turn, at: now };
    }
}

/// The running attempts of each submitter, counted while slots are given.
pub(crate) struct Shares(BTreeMap<u64, u32>);

impl Shares {
    /// Counts by submitter, from each job's submitter and its running attempts.
    pub(crate) fn of(jobs: impl Iterator<Item = (u64, u32)>) -> Self {
        let mut running = BTreeMap::new();
        for (submitter, attempts) in jobs {
            let sum: &mut u32 = running.entry(submitter).or_default();
            *sum = sum.saturating_add(attempts);
        }
        Self(running)
    }

    /// Counts one more attempt of a submitter.
    pub(crate) fn add(&mut self, submitter: u64) {
        if let Some(running) = self.0.get_mut(&submitter) {
            *running = running.saturating_add(1);
        }
    }

    /// How many attempts of a submitter run.
    pub(crate) fn running(&self, submitter: u64) -> u32 {
        self.0.get(&submitter).copied().unwrap_or_default()
    }
}
