//! The sums of a job's user counters, out of which a lost winner's share can be taken again.
//!
//! There may be a million winners, and few names. So the names are kept once, and each winner keeps its numbers in their
//! order: 8 bytes a name, and nothing in a job that counts nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windrow_jobs::Counters;

/// Sums over the winners, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// The place of each name among the sums, in the order in which they were first counted.
    places: BTreeMap<String, u32>,
    sums: Vec<u64>,
}

/// One winner's share, in the order of the sums. Names that come after its last one, it has not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share(Box<[u64]>);

impl Tally {
    /// Counts what a winner has counted.
    pub(crate) fn add(&mut self, counters: &Counters) -> Share {
        let mut share = Vec::new();
        for (name, n) in counters.iter() {
            let place = self.place(name);
            if share.len() <= place {
                share.resize(place + 1, 0);
            }
            share[place] = n;
            // Numbers come from workers: they saturate, so that nonsense can't end the process.
            self.sums[place] = self.sums[place].saturating_add(n);
        }
        debug_assert!(share.len() <= self.sums.len(), "each number has a name");
        Share(share.into_boxed_slice())
    }

    /// Takes the share of a lost winner back: its successor counts again.
    pub(crate) fn subtract(&mut self, share: &Share) {
        debug_assert!(share.0.len() <= self.sums.len(), "it was counted here before");
        for (sum, n) in self.sums.iter_mut().zip(&share.0) {
            *sum = sum.saturating_sub(*n);
        }
    }

    /// All sums by name.
    pub(crate) fn counters(&self) -> Counters {
        let sum = |(name, place): (&String, &u32)| {
            (name.clone(), self.sums.get(*place as usize).copied().unwrap_or_default())
        };
        self.places.iter().map(sum).collect()
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place as usize;
        }
        let place = self.sums.len();
        self.places.insert(name.to_string(), place as u32);
        self.sums.push(0);
        debug_assert_eq!(self.places.len(), self.sums.len(), "one sum a name");
        place
    }
}
