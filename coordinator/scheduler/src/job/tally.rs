//! The sums of a job's user counters, from which the share of a lost winner can be subtracted.
//!
//! There may be a million winners, but few names. So each name is kept once, and each winner keeps
//! its numbers in their order: 8 bytes per name, and nothing in a job without counters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windrow_model::Counters;
use windrow_model::counters::{NAMES_MAX, OTHERS, has_room};

/// Limit of the numbers that all winners of a job keep: a job of many tasks has fewer names.
const NUMBERS_MAX: usize = 1 << 24;
/// The least limit of names, for a job of any size.
const NAMES_MIN: usize = 32;

/// Sums over the winners, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// The place of each name among the sums, in order of first use.
    places: BTreeMap<String, u32>,
    sums: Vec<u64>,
}

/// One winner's share, in the order of the sums. Names beyond its end were not counted by this
/// winner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share(Box<[u64]>);

impl Tally {
    /// Adds the counters of a winner, one of `winners`.
    pub(crate) fn add(&mut self, counters: &Counters, winners: u32) -> Share {
        let names_max = (NUMBERS_MAX / winners.max(1) as usize).clamp(NAMES_MIN, NAMES_MAX);
        let mut share: Vec<u64> = Vec::new();
        for (name, n) in counters.iter() {
            let place = self.place(name, names_max);
            if share.len() <= place {
                share.resize(place + 1, 0);
            }
            // Several names may share one sum.
            share[place] = share[place].saturating_add(n);
            // Numbers come from workers: they saturate, so that wrong ones cannot panic.
            self.sums[place] = self.sums[place].saturating_add(n);
        }
        debug_assert!(share.len() <= self.sums.len(), "each number has a name");
        Share(share.into_boxed_slice())
    }

    /// Subtracts the share of a lost winner: its successor counts again.
    pub(crate) fn subtract(&mut self, share: &Share) {
        debug_assert!(share.0.len() <= self.sums.len(), "the share was added before");
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

    fn place(&mut self, name: &str, names_max: usize) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place as usize;
        }
        let has_room = self.sums.len() < names_max && has_room(name, self.places.keys());
        if !has_room && name != OTHERS {
            return self.place(OTHERS, names_max);
        }
        let place = self.sums.len();
        self.places.insert(name.to_string(), place as u32);
        self.sums.push(0);
        debug_assert_eq!(self.places.len(), self.sums.len(), "each name has a sum");
        debug_assert!(
            self.sums.len() <= NAMES_MAX + 1,
            "names come from a job's process, and are not trusted"
        );
        place
    }
}

#[cfg(test)]
mod tests {
    use windrow_model::counters::NAME_BYTES_MAX;

    use super::*;

    fn counters(names: impl IntoIterator<Item = String>) -> Counters {
        names.into_iter().map(|name| (name, 1)).collect()
    }

    #[test]
    fn a_job_has_so_many_names_and_what_is_counted_under_others_is_summed() {
        let name = |n: usize| format!("name-{n:04}");
        let mut tally = Tally::default();
        let shares: Vec<_> = (0..10)
            .map(|attempt| tally.add(&counters((0..300).map(|n| name(attempt * 300 + n))), 10))
            .collect();
        let sums = tally.counters();
        assert_eq!(sums.iter().count(), NAMES_MAX + 1);
        let sum = |tally: &Tally, of: &str| {
            tally.counters().iter().find(|(name, _)| *name == of).map(|(_, n)| n)
        };
        assert_eq!(sum(&tally, OTHERS), Some(2_000));
        // Known names are still counted; a lost winner's share is subtracted, whatever its names.
        tally.add(&counters([name(7), name(2_999), "x".repeat(NAME_BYTES_MAX + 1)]), 10);
        assert_eq!((sum(&tally, &name(7)), sum(&tally, OTHERS)), (Some(2), Some(2_002)));
        shares.iter().for_each(|share| tally.subtract(share));
        assert_eq!((sum(&tally, &name(7)), sum(&tally, OTHERS)), (Some(1), Some(2)));
        // A million winners keep few numbers each.
        let mut large = Tally::default();
        let share = large.add(&counters((0..300).map(name)), 1 << 20);
        assert_eq!(share.0.len(), NAMES_MIN + 1);
    }
}
