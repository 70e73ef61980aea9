//! Open addressing: slots of key and accumulator, a power of two of them.
//!
//! A slot is found by the low bits of a hash, or is one of those that follow. Nothing is ever
//! removed.

use std::mem::{self, MaybeUninit};

use super::Fold;
use crate::collect::huge_pages;
use crate::error::Result;
use crate::prefetch::prefetch;

/// Slots of a table that has a key at all.
const SLOTS_MIN: usize = 128;
/// Below this many slots a table grows by four, above by two.
const SLOTS_SMALL: usize = 1 << 16;

/// Size of a cache line.
const LINE_BYTES: usize = 64;

/// A key as it lies in a slot.
///
/// # Safety
/// All zero bytes must be a valid key, and [`is_empty`](Self::is_empty) there.
#[allow(unsafe_code)]
pub(in crate::collect) unsafe trait SlotKey: Copy {
    /// Whether no key is in the slot.
    fn is_empty(&self) -> bool;
}

struct Slot<K, A> {
    key: K,
    /// Initialised where the key is not empty.
    accumulator: MaybeUninit<A>,
}

/// Keys with accumulators.
pub(in crate::collect) struct SlotTable<K: SlotKey, A> {
    slots: Box<[Slot<K, A>]>,
    len: usize,
    /// Keys that fit before the table grows.
    len_max: usize,
}

/// One slot, with a key or without.
pub(super) struct SlotMut<'a, K, A> {
    slot: &'a mut Slot<K, A>,
    len: &'a mut usize,
}

#[allow(unsafe_code)]
impl<K: SlotKey, A> SlotMut<'_, K, A> {
    /// Takes a value into the accumulator. Where there is none yet, `new_key` is called, once the
    /// value has started one.
    #[inline]
    pub(super) fn fold(self, new_key: impl FnOnce() -> K, value: impl Fold<A>) -> Result<()> {
        let Self { slot, len } = self;
        if !slot.key.is_empty() {
            // SAFETY: the key is not empty.
            return value.add(unsafe { slot.accumulator.assume_init_mut() });
        }
        // User code that fails or panics here leaves the slot empty.
        slot.accumulator.write(value.start()?);
        slot.key = new_key();
        *len += 1;
        Ok(())
    }
}

impl<K: SlotKey, A> Default for SlotTable<K, A> {
    fn default() -> Self {
        Self { slots: Box::default(), len: 0, len_max: 0 }
    }
}

#[allow(unsafe_code)]
impl<K: SlotKey, A> SlotTable<K, A> {
    /// Empty slots, of which none takes up memory yet.
    fn with_slots(count: usize) -> Self {
        debug_assert!(count.is_power_of_two() && count >= SLOTS_MIN, "a mask finds all slots");
        let slots = Box::<[Slot<K, A>]>::new_zeroed_slice(count);
        // SAFETY: zeros are a valid key, and an accumulator need not be initialised.
        let slots = unsafe { slots.assume_init() };
        huge_pages::advise(&slots);
        // Five in eight: keys that are there take 1.8 probes on average, others 4.1.
        Self { slots, len: 0, len_max: count / 8 * 5 }
    }

    /// The slot of the key that is the `same`, or the one that a new key is to have. Grows a table
    /// that is full.
    #[inline]
    pub(super) fn slot(
        &mut self,
        hash: u64,
        same: impl Fn(&K) -> bool,
        rehash: impl Fn(&K) -> u64,
    ) -> SlotMut<'_, K, A> {
        if self.len == self.len_max {
            self.grow(rehash);
        }
        let index = self.find(hash, same);
        debug_assert!(index < self.slots.len(), "a key has a slot");
        // SAFETY: `find` gives the index of a slot, of which there are some: an empty table has
        // just grown, since it had room for 0 keys and held as many.
        let slot = unsafe { self.slots.get_unchecked_mut(index) };
        SlotMut { slot, len: &mut self.len }
    }

    /// Where the key is that is the `same`, or the empty slot where it would be. There must be an
    /// empty slot, or it would never end: a table holds five keys in eight slots at most.
    #[inline]
    fn find(&self, hash: u64, same: impl Fn(&K) -> bool) -> usize {
        debug_assert!(self.slots.len().is_power_of_two(), "an empty table has grown before");
        debug_assert!(self.len < self.slots.len(), "the search ends at an empty slot");
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            // SAFETY: the number of slots is a power of two and not 0, so the mask keeps the index
            // below it.
            let key = unsafe { &self.slots.get_unchecked(index).key };
            if same(key) || key.is_empty() {
                return index;
            }
            index = (index + 1) & mask;
        }
    }

    /// Moves everything to a larger table. Keys keep their order, but for the new bit: two streams,
    /// not random writes.
    #[cold]
    fn grow(&mut self, rehash: impl Fn(&K) -> u64) {
        let mut larger = Self::with_slots(self.next_slots());
        larger.len = self.len;
        for slot in mem::take(self).take_slots() {
            if !slot.key.is_empty() {
                let index = larger.find(rehash(&slot.key), |_| false);
                larger.slots[index] = slot;
            }
        }
        *self = larger;
    }

    fn take_slots(mut self) -> Box<[Slot<K, A>]> {
        mem::take(&mut self.slots)
    }

    fn next_slots(&self) -> usize {
        let factor = if self.slots.len() < SLOTS_SMALL { 4 } else { 2 };
        (self.slots.len() * factor).max(SLOTS_MIN)
    }

    /// Asks for the memory where a key of this hash would be.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let index = hash as usize & self.slots.len().wrapping_sub(1);
        let slot = self.slots.as_ptr().wrapping_add(index);
        prefetch(slot);
        // Every other one of such a size lies on two lines.
        if size_of::<Slot<K, A>>() > LINE_BYTES / 2 {
            prefetch(slot.wrapping_add(1).wrapping_byte_sub(1));
        }
    }

    /// Hands out all keys with their accumulators, in the order of the slots. After an error the
    /// others are dropped.
    pub(super) fn drain(mut self, mut each: impl FnMut(K, A) -> Result<()>) -> Result<()> {
        self.slots.iter_mut().filter(|slot| !slot.key.is_empty()).try_for_each(|slot| {
            let key = slot.key;
            // SAFETY: zeros are an empty key. The former one is not, so there is an accumulator,
            // which is out of reach from now on.
            let accumulator = unsafe {
                slot.key = mem::zeroed();
                slot.accumulator.assume_init_read()
            };
            each(key, accumulator)
        })
    }

    /// Orders the slots for [`drain`](Self::drain): no key can be found any more.
    pub(super) fn sort_by_key<O: Ord>(&mut self, order: impl Fn(&K) -> O) {
        self.slots.sort_unstable_by_key(|slot| order(&slot.key));
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory of all slots.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot<K, A>>()
    }

    /// What the table will allocate when it grows; 0 while a quarter of it is still free.
    pub(super) fn next_growth_bytes(&self) -> usize {
        let near = self.len >= self.len_max / 4 * 3;
        if near && self.len > 0 { self.next_slots() * size_of::<Slot<K, A>>() } else { 0 }
    }
}

impl<K: SlotKey, A> Drop for SlotTable<K, A> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if mem::needs_drop::<A>() {
            for slot in self.slots.iter_mut().filter(|slot| !slot.key.is_empty()) {
                // SAFETY: the key is not empty, and nobody comes here again.
                unsafe { slot.accumulator.assume_init_drop() };
            }
        }
    }
}
