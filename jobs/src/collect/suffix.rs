//! The bytes of a record from some place on, as words that compare like them.
//!
//! Beyond the prefix, which cannot tell a key from the same key with zeros at its end, a word is
//! seven bytes and a number that says how the key (or value) goes on: so equal words either end
//! together or all go on.

use super::entry::prefix;
use crate::program::RecordRef;

/// Bytes of the record in a word.
const STEP: usize = 7;
/// In place of a length: there are more than seven bytes.
const MORE: u64 = 8;
/// Set where a key is longer than the prefix; without it the number is the key's whole length.
const BEYOND_PREFIX: u64 = 16;

/// A place in all the records that are equal before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// The key's first eight bytes, where sorting starts.
    Prefix,
    /// The key from this byte on, at least the ninth, where it is that long.
    Key(usize),
    /// The value from this byte on. Keys are equal.
    Value(usize),
}

impl Suffix {
    /// The word of `record`.
    #[inline]
    pub(super) fn word(self, record: RecordRef<'_>) -> u64 {
        match self {
            Self::Prefix => prefix(record.key),
            Self::Key(_) if record.key.len() <= 8 => record.key.len() as u64,
            Self::Key(start) => word(&record.key[start..]) | BEYOND_PREFIX,
            Self::Value(start) => word(&record.value[start..]),
        }
    }

    /// Where records go on that all have `word` here; `None` where they are identical.
    pub(super) fn after(self, word: u64) -> Option<Self> {
        let ended = |mark| word & mark != mark;
        match self {
            Self::Prefix => Some(Self::Key(8)),
            Self::Key(_) if ended(BEYOND_PREFIX | MORE) => Some(Self::Value(0)),
            Self::Key(start) => Some(Self::Key(start + STEP)),
            Self::Value(_) if ended(MORE) => None,
            Self::Value(start) => Some(Self::Value(start + STEP)),
        }
    }

    /// What the record has from here on.
    pub(super) fn rest(self, record: RecordRef<'_>) -> &[u8] {
        match self {
            Self::Prefix => record.key,
            Self::Key(start) => &record.key[start.min(record.key.len())..],
            Self::Value(start) => &record.value[start..],
        }
    }

    /// The place that many bytes on.
    pub(super) fn moved_by(self, bytes: usize) -> Self {
        match self {
            Self::Prefix => self,
            Self::Key(start) => Self::Key(start + bytes),
            Self::Value(start) => Self::Value(start + bytes),
        }
    }

    /// Whether the place is in the key.
    pub(super) fn is_of_key(self) -> bool {
        !matches!(self, Self::Value(_))
    }
}

/// Seven bytes, padded with zeros, and how many there are.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    prefix(bytes) & !0xff | (bytes.len() as u64).min(MORE)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Walks two records from word to word until they differ.
        #[test]
        fn words_compare_as_records_do(
            a in (vec(0..2_u8, 0..30), vec(0..2_u8, 0..30)),
            common in 0..30_usize,
            b in (vec(0..2_u8, 0..30), vec(0..2_u8, 0..30)),
        ) {
            let key = [&a.0[..common.min(a.0.len())], &b.0].concat();
            let (a, b) = (RecordRef { key: &a.0, value: &a.1 }, RecordRef { key: &key, value: &b.1 });
            for (a, b) in [(a, b), (b, a), (a, a)] {
                let mut suffix = Suffix::Prefix;
                let found = loop {
                    let (word, other) = (suffix.word(a), suffix.word(b));
                    if word != other {
                        break word.cmp(&other);
                    }
                    match suffix.after(word) {
                        Some(next) => suffix = next,
                        None => break std::cmp::Ordering::Equal,
                    }
                };
                prop_assert_eq!(found, a.cmp(&b));
            }
        }
    }
}
