//! A hash table with open addressing: a power of two slots of key and accumulator.
//!
//! The low bits of a hash give the first slot to probe; the following slots are next. Keys are
//! never removed.

use std::mem::{self, MaybeUninit};

use super::Fold;
use crate::collect::huge_pages;
use crate::error::Result;
use crate::prefetch::prefetch;

/// Slots of the smallest table that is not empty.
const SLOTS_MIN: usize = 128;
/// Below this many slots a table grows fourfold, above twofold.
const SLOTS_SMALL: usize = 1 << 16;

/// How much of a table is drained before its memory is freed.
const DRAINED_BYTES: usize = 8 << 20;

/// Size of a cache line.
const LINE_BYTES: usize = 64;

/// A key in a slot.
///
/// # Safety
/// All zero bytes must be a valid key, for which [`is_empty`](Self::is_empty) is true.
#[allow(unsafe_code)]
pub(in crate::collect) unsafe trait SlotKey: Copy {
    /// Whether the slot has no key.
    fn is_empty(&self) -> bool;
}

struct Slot<K, A> {
    key: K,
    /// Initialised unless the key is empty.
    accumulator: MaybeUninit<A>,
}

/// Keys with accumulators.
pub(in crate::collect) struct SlotTable<K: SlotKey, A> {
    slots: Box<[Slot<K, A>]>,
    len: usize,
    /// Number of keys at which the table grows.
    len_max: usize,
}

/// One slot, with or without a key.
pub(super) struct SlotMut<'a, K, A> {
    slot: &'a mut Slot<K, A>,
    len: &'a mut usize,
}

#[allow(unsafe_code)]
impl<K: SlotKey, A> SlotMut<'_, K, A> {
    /// Folds a value into the accumulator. Calls `new_key` once the value has started a new
    /// accumulator.
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
    /// Empty slots, without touching their memory.
    fn with_slots(count: usize) -> Self {
        debug_assert!(count.is_power_of_two() && count >= SLOTS_MIN, "a mask finds all slots");
        let slots = Box::<[Slot<K, A>]>::new_zeroed_slice(count);
        // SAFETY: zeros are a valid key, and an accumulator need not be initialised.
        let slots = unsafe { slots.assume_init() };
        huge_pages::advise(&slots);
        // Five in eight: a lookup takes 1.8 probes on average if the key exists, else 4.1.
        Self { slots, len: 0, len_max: count / 8 * 5 }
    }

    /// The slot of the `same` key, or the empty slot for it. Grows a full table first.
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
        // SAFETY: `find` returns the index of a slot. There are slots: a table without any has
        // `len_max` 0, and so has just grown.
        let slot = unsafe { self.slots.get_unchecked_mut(index) };
        SlotMut { slot, len: &mut self.len }
    }

    /// The index of the `same` key's slot, or of the empty slot where it would be. Ends at an empty
    /// slot, of which there always are some: at most five in eight slots have keys.
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

    /// Moves everything to a larger table. Except for the new bits of their hashes, keys keep their
    /// order, so the writes are a few sequential streams.
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

    /// Prefetches the slot of a key with this hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let index = hash as usize & self.slots.len().wrapping_sub(1);
        let slot = self.slots.as_ptr().wrapping_add(index);
        prefetch(slot);
        // Slots of such a size often span two cache lines.
        if size_of::<Slot<K, A>>() > LINE_BYTES / 2 {
            prefetch(slot.wrapping_add(1).wrapping_byte_sub(1));
        }
    }

    /// Passes all keys with their accumulators to `each`, in slot order, and frees the memory of
    /// slots on the way: what is made of them takes its place. After an error the others are
    /// dropped.
    pub(super) fn drain(mut self, mut each: impl FnMut(K, A) -> Result<()>) -> Result<()> {
        let step = (DRAINED_BYTES / size_of::<Slot<K, A>>()).max(1);
        self.slots.chunks_mut(step).try_for_each(|slots| {
            slots.iter_mut().filter(|slot| !slot.key.is_empty()).try_for_each(|slot| {
                let key = slot.key;
                // SAFETY: zeros are an empty key. The previous key was not empty, so its
                // accumulator is initialised; it is unreachable from now on.
                let accumulator = unsafe {
                    slot.key = mem::zeroed();
                    slot.accumulator.assume_init_read()
                };
                each(key, accumulator)
            })?;
            // SAFETY: all these slots are empty. They keep their bytes or become zeros, which are
            // empty slots, too.
            huge_pages::release(unsafe { as_uninit(slots) });
            Ok(())
        })
    }

    /// Sorts the slots for [`drain`](Self::drain). Afterwards no key can be found.
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

    /// Memory that the table will allocate when it grows; 0 while a quarter of its capacity is
    /// free.
    pub(super) fn next_growth_bytes(&self) -> usize {
        let near = self.len >= self.len_max / 4 * 3;
        if near && self.len > 0 { self.next_slots() * size_of::<Slot<K, A>>() } else { 0 }
    }
}

/// The same slots, which may lose their content.
///
/// # Safety
/// Nothing but valid slots must be written to them.
#[allow(unsafe_code)]
unsafe fn as_uninit<T>(slots: &mut [T]) -> &mut [MaybeUninit<T>] {
    // SAFETY: both types have the same layout; the caller keeps the slots valid.
    unsafe { &mut *(std::ptr::from_mut(slots) as *mut [MaybeUninit<T>]) }
}

impl<K: SlotKey, A> Drop for SlotTable<K, A> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if mem::needs_drop::<A>() {
            for slot in self.slots.iter_mut().filter(|slot| !slot.key.is_empty()) {
                // SAFETY: the key is not empty, so the accumulator is initialised, and it is
                // dropped only here.
                unsafe { slot.accumulator.assume_init_drop() };
            }
        }
    }
}
