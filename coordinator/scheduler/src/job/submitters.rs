//! Jobs of one priority share the slots by their submitters: each submitter's jobs together get as
//! many as another one's, however many jobs that are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All that have jobs which have not ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Submitters(BTreeMap<u64, Submitter>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Submitter {
    jobs: u32,
    /// When one of its jobs was last given a slot, counted in slots given to any job. Its jobs may
    /// be many and short, so that none of them remembers.
    turn: u64,
}

impl Submitters {
    /// A job of this one begins.
    pub(crate) fn begin(&mut self, submitter: u64) {
        self.0.entry(submitter).or_default().jobs += 1;
    }

    /// A job of this one has ended.
    pub(crate) fn end(&mut self, submitter: u64) {
        let known = self.0.get_mut(&submitter);
        debug_assert!(known.is_some(), "what ends has begun");
        let Some(known) = known else { return };
        known.jobs -= 1;
        if known.jobs == 0 {
            self.0.remove(&submitter);
        }
    }

    /// A job of this one was given a slot.
    pub(crate) fn serve(&mut self, submitter: u64, turn: u64) {
        if let Some(known) = self.0.get_mut(&submitter) {
            debug_assert!(known.turn < turn, "each slot given has a number of its own");
            known.turn = turn;
        }
    }

    /// Whether there is anybody to share with.
    pub(crate) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// When this one was served last.
    pub(crate) fn turn(&self, submitter: u64) -> u64 {
        self.0.get(&submitter).map_or(0, |known| known.turn)
    }

    /// How many jobs each of them has.
    pub(crate) fn jobs(&self) -> BTreeMap<u64, u32> {
        self.0.iter().map(|(submitter, known)| (*submitter, known.jobs)).collect()
    }
}

/// The attempts that run for each submitter, while slots are given.
pub(crate) struct Shares(BTreeMap<u64, u32>);

impl Shares {
    /// Of these jobs' submitters, and what runs for each job.
    pub(crate) fn of(jobs: impl Iterator<Item = (u64, u32)>) -> Self {
        let mut running = BTreeMap::new();
        for (submitter, attempts) in jobs {
            let sum: &mut u32 = running.entry(submitter).or_default();
            *sum = sum.saturating_add(attempts);
        }
        Self(running)
    }

    /// One more runs for this one.
    pub(crate) fn add(&mut self, submitter: u64) {
        if let Some(running) = self.0.get_mut(&submitter) {
            *running = running.saturating_add(1);
        }
    }

    /// How many run for this one.
    pub(crate) fn running(&self, submitter: u64) -> u32 {
        self.0.get(&submitter).copied().unwrap_or_default()
    }
}
