//! User counters: named sums over all records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most counters of a job, besides [`OTHERS`].
pub const NAMES_MAX: usize = 1_000;

/// Length of the longest name.
pub const NAME_BYTES_MAX: usize = 256;

/// Length of all names of a job together. User code chooses the names, and they go into the
/// journal, lists and manifests.
pub const ALL_NAMES_BYTES_MAX: usize = 64 << 10;

/// Sums up the counters beyond these limits.
pub const OTHERS: &str = "other counters";

/// Whether `name` may be added to `names` within the limits.
pub fn has_room<'a>(name: &str, names: impl ExactSizeIterator<Item = &'a String>) -> bool {
    if name.len() > NAME_BYTES_MAX || names.len() >= NAMES_MAX {
        return false;
    }
    // So few names cannot exceed the limit on all names.
    (names.len() + 1) * NAME_BYTES_MAX <= ALL_NAMES_BYTES_MAX
        || names.map(String::len).sum::<usize>() + name.len() <= ALL_NAMES_BYTES_MAX
}

/// Sums by name: at most [`NAMES_MAX`] names of [`NAME_BYTES_MAX`] each and [`ALL_NAMES_BYTES_MAX`]
/// together. Counts under any other name are added to [`OTHERS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    sums: BTreeMap<String, u64>,
}

impl Counters {
    /// Adds `n` to the sum called `name`, saturating.
    pub fn add(&mut self, name: &str, n: u64) {
        if let Some(sum) = self.sums.get_mut(name) {
            *sum = sum.saturating_add(n);
        } else if name == OTHERS || has_room(name, self.sums.keys()) {
            self.sums.insert(name.to_string(), n);
        } else {
            self.add(OTHERS, n);
        }
    }

    /// Adds all sums of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (name, n) in other.iter() {
            self.add(name, n);
        }
    }

    /// All sums in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sums.iter().map(|(name, n)| (name.as_str(), *n))
    }

    /// The sum called `name`; `None` if there is none.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.sums.get(name).copied()
    }

    /// Whether nothing was ever counted.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}

impl<S: Into<String>> FromIterator<(S, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (S, u64)>>(sums: I) -> Self {
        let mut counters = Self::default();
        for (name, n) in sums {
            counters.add(&name.into(), n);
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_the_limits_are_summed_under_one_name() {
        let numbered = |bytes: usize| move |n: usize| (format!("{n:0bytes$}"), 1u64);
        let many = (0..NAMES_MAX + 7).map(numbered(9)).collect::<Counters>();
        assert_eq!((many.iter().count(), many.get(OTHERS)), (NAMES_MAX + 1, Some(7)));
        let long = [("l".repeat(NAME_BYTES_MAX), 1), ("l".repeat(NAME_BYTES_MAX + 1), 1)];
        assert_eq!(Counters::from_iter(long).get(OTHERS), Some(1));
        let large = (0..NAMES_MAX).map(numbered(NAME_BYTES_MAX)).collect::<Counters>();
        let bytes = large.iter().map(|(name, _)| name.len()).sum::<usize>();
        assert!(bytes <= ALL_NAMES_BYTES_MAX + OTHERS.len(), "{bytes}");
        assert_eq!(large.iter().map(|(_, n)| n).sum::<u64>(), NAMES_MAX as u64, "none is lost");
        // Known names are still counted in a merge.
        let mut sum = many.clone();
        sum.merge(&many);
        assert_eq!((sum.get("000000000"), sum.get(OTHERS)), (Some(2), Some(14)));
    }
}
