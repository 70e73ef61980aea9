//! A hash table from encoded keys to accumulators, with the keys in one arena.
//!
//! Most keys are short. One of at most 16 bytes is compared by two words in the table itself, without a look into
//! the arena. Hashes are seeded anew for every table, so that no input collides by design; they are not the hash that
//! partitions, which is the same for ever.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::error::Result;

/// Keys and their accumulators, in no particular order.
pub(super) struct KeyTable<A> {
    entries: HashTable<Entry<A>>,
    keys: Vec<u8>,
    hasher: RandomState,
}

struct Entry<A> {
    fingerprint: Fingerprint,
    key_start: usize,
    key_len: u32,
    accumulator: A,
}

/// Sixteen bytes that, together with the length, determine a key of at most 16 bytes, and nearly any other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Fingerprint(u64, u64);

/// A key that is looked up.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    key: &'a [u8],
    fingerprint: Fingerprint,
    hash: u64,
}

impl<A> Default for KeyTable<A> {
    fn default() -> Self {
        Self { entries: HashTable::new(), keys: Vec::new(), hasher: RandomState::default() }
    }
}

impl<A> KeyTable<A> {
    /// Prepares `key` for a search.
    #[inline]
    pub(super) fn probe<'a>(&self, key: &'a [u8]) -> Probe<'a> {
        let fingerprint = Fingerprint::of(key, &self.hasher);
        Probe { key, fingerprint, hash: self.hasher.hash_one(fingerprint) }
    }

    /// The accumulator of this key.
    #[inline]
    pub(super) fn find(&mut self, probe: Probe<'_>) -> Option<&mut A> {
        let keys = &self.keys;
        self.entries
            .find_mut(probe.hash, |entry| entry.has_key(probe, keys))
            .map(|entry| &mut entry.accumulator)
    }

    /// Adds a key that is not there yet.
    pub(super) fn insert(&mut self, probe: Probe<'_>, accumulator: A) -> Result<()> {
        let Probe { key, fingerprint, hash } = probe;
        let key_len = u32::try_from(key.len())
            .map_err(|_| super::record_buffer::too_large("key", key.len()))?;
        let entry = Entry { fingerprint, key_start: self.keys.len(), key_len, accumulator };
        self.keys.extend_from_slice(key);
        let hasher = &self.hasher;
        self.entries.insert_unique(hash, entry, |entry| hasher.hash_one(entry.fingerprint));
        Ok(())
    }

    /// All keys and accumulators.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &A)> {
        self.entries.iter().map(|entry| (entry.key(&self.keys), &entry.accumulator))
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all keys together.
    pub(super) fn key_bytes(&self) -> usize {
        self.keys.len()
    }

    /// Memory of keys and table, in bytes, without what accumulators own elsewhere.
    pub(super) fn memory_bytes(&self) -> usize {
        self.keys.capacity() + self.entries.allocation_size()
    }
}

impl<A> Entry<A> {
    #[inline]
    fn has_key(&self, probe: Probe<'_>, keys: &[u8]) -> bool {
        self.fingerprint == probe.fingerprint
            && self.key_len as usize == probe.key.len()
            && (probe.key.len() <= 16 || self.key(keys) == probe.key)
    }

    #[inline]
    fn key<'a>(&self, keys: &'a [u8]) -> &'a [u8] {
        &keys[self.key_start..][..self.key_len as usize]
    }
}

impl Fingerprint {
    /// The first and the last eight bytes (they may overlap); of shorter keys the first and the last four, or all
    /// there is; of longer ones a hash.
    #[inline]
    fn of(key: &[u8], hasher: &RandomState) -> Self {
        if key.len() > 16 {
            return Self(hasher.hash_one(key), key.len() as u64);
        }
        if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
            return Self(u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        }
        if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            return Self(first.into(), last.into());
        }
        let word = key.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        Self(word, key.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Keys of few distinct bytes, so that fingerprints and lengths meet in all ways.
        #[test]
        fn counts_like_a_map(keys in vec(vec(0..2_u8, 0..24), 0..300)) {
            let mut table = KeyTable::<u32>::default();
            let mut map = HashMap::<&[u8], u32>::new();
            for key in &keys {
                *map.entry(key).or_default() += 1;
                let probe = table.probe(key);
                match table.find(probe) {
                    Some(count) => *count += 1,
                    None => table.insert(probe, 1).unwrap(),
                }
            }
            prop_assert_eq!(table.len(), map.len());
            prop_assert_eq!(table.iter().map(|(key, count)| (key, *count)).collect::<HashMap<_, _>>(), map);
        }
    }
}
