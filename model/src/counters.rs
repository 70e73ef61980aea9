//! User counters: named sums over all records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most names of a job, without [`OTHERS`].
pub const NAMES_MAX: usize = 1_000;

/// Longest name.
pub const NAME_BYTES_MAX: usize = 256;

/// All names of a job together. Names come from user code with every attempt, and go into the
/// journal, lists and manifests.
pub const ALL_NAMES_BYTES_MAX: usize = 64 << 10;

/// What is counted under more names, or longer ones, is summed under this one.
pub const OTHERS: &str = "other counters";

/// Whether another name has room beside these.
pub fn has_room<'a>(name: &str, names: impl ExactSizeIterator<Item = &'a String>) -> bool {
    if name.len() > NAME_BYTES_MAX || names.len() >= NAMES_MAX {
        return false;
    }
    // So few cannot be too much together, whatever they are.
    (names.len() + 1) * NAME_BYTES_MAX <= ALL_NAMES_BYTES_MAX
        || names.map(String::len).sum::<usize>() + name.len() <= ALL_NAMES_BYTES_MAX
}

/// Sums by name. Few names are expected, so that a line of them can be shown: there are at most
/// [`NAMES_MAX`] of them, of [`NAME_BYTES_MAX`] each and [`ALL_NAMES_BYTES_MAX`] together. What is
/// counted beyond is summed as [`OTHERS`].
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
    fn names_are_so_many_and_so_long_and_the_rest_is_summed() {
        let numbered = |bytes: usize| move |n: usize| (format!("{n:0bytes$}"), 1u64);
        let many = (0..NAMES_MAX + 7).map(numbered(9)).collect::<Counters>();
        assert_eq!((many.iter().count(), many.get(OTHERS)), (NAMES_MAX + 1, Some(7)));
        let long = [("l".repeat(NAME_BYTES_MAX), 1), ("l".repeat(NAME_BYTES_MAX + 1), 1)];
        assert_eq!(Counters::from_iter(long).get(OTHERS), Some(1));
        let large = (0..NAMES_MAX).map(numbered(NAME_BYTES_MAX)).collect::<Counters>();
        let bytes = large.iter().map(|(name, _)| name.len()).sum::<usize>();
        assert!(bytes <= ALL_NAMES_BYTES_MAX + OTHERS.len(), "{bytes}");
        assert_eq!(large.iter().map(|(_, n)| n).sum::<u64>(), NAMES_MAX as u64, "none is lost");
        // Those that are known go on being counted, wherever they come from.
        let mut sum = many.clone();
        sum.merge(&many);
        assert_eq!((sum.get("000000000"), sum.get(OTHERS)), (Some(2), Some(14)));
    }
}
