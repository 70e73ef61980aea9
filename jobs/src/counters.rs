//! User counters: named sums over all records.

pub use windrow_model::counters::{
    ALL_NAMES_BYTES_MAX, Counters, NAME_BYTES_MAX, NAMES_MAX, OTHERS, has_room,
};

/// Most literals of one thread; several may have the same text. Each count searches them linearly.
const LITERALS_MAX: usize = 2 * NAMES_MAX;

/// The counters of one thread. Counting is cheap, since the names are few literals, compared by
/// address.
#[derive(Debug, Default)]
pub(crate) struct LocalCounters {
    sums: Vec<(&'static str, u64)>,
}

impl LocalCounters {
    /// Adds `n` to the sum called `name`, saturating. O(number of names).
    #[inline]
    pub(crate) fn add(&mut self, name: &'static str, n: u64) {
        // The same literal may have several addresses, and then has several entries, which `take`
        // merges.
        match self.sums.iter_mut().find(|(known, _)| std::ptr::eq(*known, name)) {
            Some((_, sum)) => *sum = sum.saturating_add(n),
            None => self.add_new(name, n),
        }
    }

    #[cold]
    fn add_new(&mut self, name: &'static str, n: u64) {
        if self.sums.len() < LITERALS_MAX || name == OTHERS {
            self.sums.push((name, n));
        } else {
            self.add(OTHERS, n);
        }
    }

    /// The sums since the last call.
    pub(crate) fn take(&mut self) -> Counters {
        self.drain().collect()
    }

    /// The sums since the last call. A name may occur more than once.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (&'static str, u64)> {
        self.sums.drain(..)
    }

    /// Forgets all sums.
    pub(crate) fn clear(&mut self) {
        self.sums.clear();
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_makes_up_names_keeps_few() {
        let mut local = LocalCounters::default();
        for n in 0..2 * LITERALS_MAX {
            local.add(format!("{n}").leak(), 1);
        }
        assert!(local.sums.len() <= LITERALS_MAX + 1);
        let all = local.take();
        assert_eq!(all.iter().map(|(_, n)| n).sum::<u64>(), 2 * LITERALS_MAX as u64);
    }

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
