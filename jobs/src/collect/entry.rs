//! Entries, which are sorted in place of records.

/// The start of a record's key, and the record's position. Ordered by key start and then by
/// position: one comparison of integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u128);

impl Entry {
    /// An entry that sorts by `word`.
    #[inline]
    pub(super) fn new(word: u64, at: u64) -> Self {
        Self(u128::from(word) << 64 | u128::from(at))
    }

    /// The [`prefix`] of the key; while a partition is being sorted, other bytes of the record.
    #[inline]
    pub(super) fn word(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The record's position in the arena.
    #[inline]
    pub(super) fn at(self) -> u64 {
        self.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_compare_by_word_first() {
        assert!(Entry::new(1, u64::MAX) < Entry::new(2, 0));
        assert!(Entry::new(1, 0) < Entry::new(1, 1));
        assert_eq!((Entry::new(7, 9).word(), Entry::new(7, 9).at()), (7, 9));
    }
}
