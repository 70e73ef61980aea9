//! Keys that do not fit into a slot; their bytes are in an arena.

use super::Fold;
use super::slots::{SlotKey, SlotTable};
use crate::collect::arena::Arena;
use crate::collect::record_buffer::too_large;
use crate::error::Result;

/// From this average size on, keys are drained in the order of their positions, so that their
/// memory is freed on the way; sorting shorter keys would cost too much.
const ORDERED_BYTES: usize = 1 << 10;

/// Long keys and their accumulators.
pub(super) struct LongTable<A> {
    slots: SlotTable<LongKey, A>,
    keys: Arena,
    longest_bytes: usize,
}

/// The position of a key's bytes. Keys of equal hash and length are nearly always equal.
#[derive(Clone, Copy)]
struct LongKey {
    hash: u64,
    at: u64,
    /// 0 only in an empty slot.
    len: u32,
}

// SAFETY: any numbers are valid, and a key in a slot is not empty.
#[allow(unsafe_code)]
unsafe impl SlotKey for LongKey {
    #[inline]
    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<A> Default for LongTable<A> {
    fn default() -> Self {
        let (slots, keys, longest_bytes) = Default::default();
        Self { slots, keys, longest_bytes }
    }
}

impl<A> LongTable<A> {
    /// Folds a value into the accumulator of `key`, which must not be empty.
    pub(super) fn fold(&mut self, key: &[u8], hash: u64, value: impl Fold<A>) -> Result<()> {
        let Self { slots, keys, longest_bytes } = self;
        let len = u32::try_from(key.len()).map_err(|_| too_large(key.len()))?;
        let same = |found: &LongKey| {
            (found.hash, found.len) == (hash, len) && keys.bytes_from(found.at).starts_with(key)
        };
        let slot = slots.slot(hash, same, |key| key.hash);
        let append = || {
            let (at, block) = keys.reserve(key.len());
            block.extend_from_slice(key);
            *longest_bytes = key.len().max(*longest_bytes);
            LongKey { hash, at, len }
        };
        slot.fold(append, value)
    }

    /// Passes every key with its accumulator to `each`.
    pub(super) fn drain(self, mut each: impl FnMut(&[u8], A) -> Result<()>) -> Result<()> {
        let Self { mut slots, mut keys, .. } = self;
        let is_ordered = keys.memory_bytes() / slots.len().max(1) >= ORDERED_BYTES;
        if is_ordered {
            slots.sort_by_key(|key| key.at);
        }
        let mut freed = 0;
        slots.drain(|key, accumulator| {
            each(&keys.bytes_from(key.at)[..key.len as usize], accumulator)?;
            if is_ordered {
                freed = keys.free(freed, key.at + u64::from(key.len));
            }
            Ok(())
        })
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Memory of keys and slots.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.memory_bytes() + self.keys.memory_bytes()
    }

    /// Size of the longest key.
    pub(super) fn longest_bytes(&self) -> usize {
        self.longest_bytes
    }

    /// Memory that the next growth will allocate.
    pub(super) fn next_growth_bytes(&self) -> usize {
        self.slots.next_growth_bytes()
    }
}
