//! What is sorted in place of a record.

/// The start of a record's key, and where the record lies. Ordered by key start, then by position: one comparison of
/// integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u128);

impl Entry {
    /// An entry that sorts by `word`.
    #[inline]
    pub(super) fn new(word: u64, at: u64) -> Self {
        Self(u128::from(word) << 64 | u128::from(at))
    }

    /// The first eight bytes of the key as [`prefix`] gives them, but while a partition is being sorted.
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

/// The first eight bytes, big endian, with zeros after shorter ones: compares as the bytes do, but for what it cannot
/// tell apart.
#[inline]
pub(super) fn prefix(bytes: &[u8]) -> u64 {
    if let Some(first) = bytes.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    // Two overlapping halves, or three bytes: without a loop over a length that nobody can predict.
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(*last));
        return u64::from(first) << 32 | u64::from(last) << (8 * (8 - bytes.len()));
    }
    match *bytes {
        [] => 0,
        [a] => u64::from(a) << 56,
        [a, b] => u64::from(a) << 56 | u64::from(b) << 48,
        [a, b, c, ..] => u64::from(a) << 56 | u64::from(b) << 48 | u64::from(c) << 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_padded_start() {
        let bytes: Vec<u8> = (1..=20).collect();
        for len in 0..bytes.len() {
            let mut padded = [0; 8];
            padded[..len.min(8)].copy_from_slice(&bytes[..len.min(8)]);
            assert_eq!(prefix(&bytes[..len]), u64::from_be_bytes(padded), "{len}");
        }
    }

    #[test]
    fn entries_compare_by_word_first() {
        assert!(Entry::new(1, u64::MAX) < Entry::new(2, 0));
        assert!(Entry::new(1, 0) < Entry::new(1, 1));
        assert_eq!((Entry::new(7, 9).word(), Entry::new(7, 9).at()), (7, 9));
    }
}
