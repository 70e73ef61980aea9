//! User counters: named sums over all records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Sums by name. Few names are expected, so that a line of them can be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    sums: BTreeMap<String, u64>,
}

impl Counters {
    /// Adds `n` to the sum called `name`, saturating.
    pub fn add(&mut self, name: &str, n: u64) {
        match self.sums.get_mut(name) {
            Some(sum) => *sum = sum.saturating_add(n),
            None => {
                self.sums.insert(name.to_string(), n);
            }
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

/// Counts of one thread, as user code makes them: cheap, since the names are literals and few.
#[derive(Debug, Default)]
pub(crate) struct LocalCounters {
    sums: Vec<(&'static str, u64)>,
}

impl LocalCounters {
    /// Adds `n` to the sum called `name`, saturating. O(number of names).
    #[inline]
    pub(crate) fn add(&mut self, name: &'static str, n: u64) {
        // The same literal may have several addresses: then it has several entries, and `take`
        // joins them.
        match self.sums.iter_mut().find(|(known, _)| std::ptr::eq(*known, name)) {
            Some((_, sum)) => *sum = sum.saturating_add(n),
            None => self.sums.push((name, n)),
        }
    }

    /// The sums since the last call.
    pub(crate) fn take(&mut self) -> Counters {
        self.drain().collect()
    }

    /// The sums since the last call, one after the other. A name may come more than once.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (&'static str, u64)> {
        self.sums.drain(..)
    }

    /// Forgets all sums.
    pub(crate) fn clear(&mut self) {
        self.sums.clear();
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
    fn local_counts_are_summed_by_name() {
        let mut local = LocalCounters::default();
        let elsewhere: &'static str = String::from("bad").leak();
        local.add("bad", 1);
        local.add("good", u64::MAX);
        local.add(elsewhere, 2);
        local.add("good", 1);
        let mut all = Counters::from_iter([("bad", 4)]);
        all.merge(&local.take());
        assert_eq!(all, Counters::from_iter([("bad", 7), ("good", u64::MAX)]));
        assert!(local.take().is_empty());
    }
}
