//! Suffixes of records, as words that compare like their bytes.
//!
//! The prefix cannot distinguish a key from the same key with zeros at its end. After it, a word is
//! seven bytes and a number that says whether the key (or value) ends there: of equal words, either
//! all end or all go on.

use crate::pairs::{RecordRef, prefix};

/// Bytes of the record in a word.
const STEP: usize = 7;
/// Instead of a length: more than seven bytes remain.
const MORE: u64 = 8;
/// Set if a key is longer than the prefix; without it the number is the key's whole length.
const BEYOND_PREFIX: u64 = 16;

/// A position in records that are equal before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// The key's first eight bytes, with which sorting starts.
    Prefix,
    /// The key from this byte on, which is at least the ninth; empty if the key is shorter.
    Key(usize),
    /// The value from this byte on; the keys are equal.
    Value(usize),
}

impl Suffix {
    /// The word of `record` at this position.
    #[inline]
    pub(super) fn word(self, record: RecordRef<'_>) -> u64 {
        match self {
            Self::Prefix => prefix(record.key),
            Self::Key(_) if record.key.len() <= 8 => record.key.len() as u64,
            Self::Key(start) => word(&record.key[start..]) | BEYOND_PREFIX,
            Self::Value(start) => word(&record.value[start..]),
        }
    }

    /// The next position of records that all have `word` here; `None` if they are identical.
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

    /// The bytes of the key or value from here on.
    pub(super) fn rest(self, record: RecordRef<'_>) -> &[u8] {
        match self {
            Self::Prefix => record.key,
            Self::Key(start) => &record.key[start.min(record.key.len())..],
            Self::Value(start) => &record.value[start..],
        }
    }

    /// The position advanced by `bytes`.
    pub(super) fn moved_by(self, bytes: usize) -> Self {
        match self {
            Self::Prefix => self,
            Self::Key(start) => Self::Key(start + bytes),
            Self::Value(start) => Self::Value(start + bytes),
        }
    }

    /// Whether the position is in the key.
    pub(super) fn is_of_key(self) -> bool {
        !matches!(self, Self::Value(_))
    }
}

/// The first seven bytes, padded with zeros, and how many there are.
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
        /// Compares two records word by word until they differ.
        #[test]
        fn words_compare_like_records(
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
