//! Short keys, in a few words.

use std::hint::select_unpredictable;

use super::slots::SlotKey;
use crate::pairs::first_eight;

/// A key of at most `8 * N - 1` bytes, little endian, padded with zeros; the last byte is the
/// length plus one. So different keys differ, and none is all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::collect) struct Words<const N: usize>([u64; N]);

/// The bits of the last word that hold bytes of the key.
const LAST_WORD_BITS: u32 = 56;

// SAFETY: any words are valid, and only an empty slot's last word is zero.
#[allow(unsafe_code)]
unsafe impl<const N: usize> SlotKey for Words<N> {
    #[inline]
    fn is_empty(&self) -> bool {
        self.0[N - 1] == 0
    }
}

impl Words<2> {
    /// The key, if it is short enough.
    #[inline(always)]
    pub(in crate::collect) fn new(key: &[u8]) -> Option<Self> {
        if key.len() > 15 {
            return None;
        }
        let high = last_word(select_unpredictable(key.len() >= 8, key, &[0; 8]), 8);
        Some(Self([first_eight(key), high | length_mark(key)]))
    }
}

impl Words<4> {
    /// The key, if it is short enough and too long for two words.
    #[inline(always)]
    pub(in crate::collect) fn new(key: &[u8]) -> Option<Self> {
        if !(16..32).contains(&key.len()) {
            return None;
        }
        let fourth = last_word(select_unpredictable(key.len() >= 24, key, &[0; 24]), 24);
        let (first, second) = (first_eight(key), first_eight(&key[8..]));
        Some(Self([first, second, first_eight(&key[16..]), fourth | length_mark(key)]))
    }
}

impl<const N: usize> Words<N> {
    #[inline]
    pub(super) fn as_words(&self) -> &[u64; N] {
        &self.0
    }

    /// Calls `read` with the key's bytes.
    #[inline]
    pub(super) fn with_bytes<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        let bytes = self.0.map(u64::to_le_bytes);
        let len = (self.0[N - 1] >> LAST_WORD_BITS).saturating_sub(1);
        read(&bytes.as_flattened()[..len as usize])
    }
}

#[inline(always)]
fn length_mark(key: &[u8]) -> u64 {
    (key.len() as u64 + 1) << LAST_WORD_BITS
}

/// The bytes of a key from `start` on, of which there are at most seven; the whole key has at least
/// eight.
#[inline(always)]
fn last_word(key: &[u8], start: usize) -> u64 {
    let last = key.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    // A shift by 64 bits would overflow, so there are two steps.
    last >> 8 >> (LAST_WORD_BITS - 8 * (key.len() - start) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        let bytes: Vec<u8> = (1..=40).collect();
        for len in 0..=40 {
            let key = &bytes[..len];
            let (two, four) = (Words::<2>::new(key), Words::<4>::new(key));
            assert_eq!((two.is_some(), four.is_some()), (len < 16, (16..32).contains(&len)));
            assert!(two.is_none_or(|words| words.with_bytes(|bytes| bytes == key)));
            assert!(four.is_none_or(|words| words.with_bytes(|bytes| bytes == key)));
        }
    }

    #[test]
    fn keys_of_zeros_differ_by_length() {
        let keys: Vec<_> = (0..16).map(|len| Words::<2>::new(&[0; 16][..len]).unwrap()).collect();
        for (len, key) in keys.iter().enumerate() {
            assert!(!key.is_empty());
            assert_eq!(keys.iter().position(|other| other == key), Some(len));
        }
    }
}
