//! An open-addressing table of counts, with short keys inline and memory in huge pages.

use memmap2::{Advice, MmapMut};

use super::Result;

/// Keys are looked up in batches of this many, so that cache misses overlap.
const BATCH: usize = 32;

/// A key of fewer than `8 * W` bytes, padded with zeros; the last byte is its length plus one, so
/// that no key is all zeros and two keys are equal only if their bytes and lengths are.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct ShortKey<const W: usize>([u64; W]);

impl<const W: usize> ShortKey<W> {
    /// The key at `start..end` of `bytes`; `None` if it is too long.
    #[inline(always)]
    pub fn load(bytes: &[u8], start: usize, end: usize) -> Option<Self> {
        let len = end - start;
        if len >= 8 * W {
            return None;
        }
        let mut words = [0; W];
        if let Some(window) = bytes.get(start..start + 8 * W) {
            for (n, (word, eight)) in words.iter_mut().zip(window.as_chunks::<8>().0).enumerate() {
                let bits = (len * 8).saturating_sub(n * 64);
                let mask = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
                *word = u64::from_le_bytes(*eight) & mask;
            }
        } else {
            for (n, &byte) in bytes[start..end].iter().enumerate() {
                words[n / 8] |= u64::from(byte) << (n % 8 * 8);
            }
        }
        words[W - 1] |= (len as u64 + 1) << 56;
        Some(Self(words))
    }

    /// Calls `f` with the key's bytes.
    pub fn with_bytes<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        let mut bytes = [[0; 8]; W];
        for (eight, word) in bytes.iter_mut().zip(self.0) {
            *eight = word.to_le_bytes();
        }
        let bytes = bytes.as_flattened();
        f(&bytes[..usize::from(bytes[8 * W - 1]) - 1])
    }

    /// Upper bits choose the core that merges the key, lower bits its slot in a table.
    #[inline(always)]
    pub fn hash(&self) -> u64 {
        self.0.iter().fold(0x9E37_79B9_7F4A_7C15, |hash, word| {
            let product = u128::from(hash ^ word) * 0xA076_1D64_78BD_642F;
            (product as u64) ^ (product >> 64) as u64
        })
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Entry<const W: usize> {
    key: ShortKey<W>,
    count: u64,
}

/// Counts by key, or sets of bits.
pub struct Table<const W: usize, const IS_SET: bool = false> {
    memory: MmapMut,
    slots: usize,
    used: usize,
    waiting: usize,
    batch: [(u64, Entry<W>); BATCH],
}

impl<const W: usize, const IS_SET: bool> Table<W, IS_SET> {
    /// With room for `keys` before it grows.
    pub fn new(keys: usize) -> Result<Self> {
        let slots = ((keys + BATCH) * 2).next_power_of_two();
        let memory = MmapMut::map_anon(slots * size_of::<Entry<W>>())?;
        // Without huge pages, the table is slower.
        let _ = memory.advise(Advice::HugePage);
        let empty = Entry { key: ShortKey([0; W]), count: 0 };
        Ok(Self { memory, slots, used: 0, waiting: 0, batch: [(0, empty); BATCH] })
    }

    /// Adds to a key's count or set, at the latest when [`flush`](Self::flush) returns.
    #[inline(always)]
    pub fn add(&mut self, key: ShortKey<W>, count: u64) -> Result<()> {
        let hash = key.hash();
        self.prefetch(hash);
        self.batch[self.waiting] = (hash, Entry { key, count });
        self.waiting += 1;
        if self.waiting == BATCH { self.flush() } else { Ok(()) }
    }

    /// Adds the pending keys.
    pub fn flush(&mut self) -> Result<()> {
        if (self.used + BATCH) * 2 > self.slots {
            self.grow()?;
        }
        let batch = self.batch;
        for (hash, entry) in &batch[..self.waiting] {
            self.add_now(*hash, entry);
        }
        self.waiting = 0;
        Ok(())
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.used
    }

    /// All counts. Call [`flush`](Self::flush) first.
    pub fn iter(&self) -> impl Iterator<Item = (ShortKey<W>, u64)> {
        self.entries().iter().filter(|entry| entry.key.0[W - 1] != 0).map(|e| (e.key, e.count))
    }

    #[inline(always)]
    fn add_now(&mut self, hash: u64, new: &Entry<W>) {
        let mask = self.slots - 1;
        let mut at = hash as usize & mask;
        let entries = self.entries_mut();
        loop {
            let entry = &mut entries[at];
            if entry.key == new.key {
                if IS_SET {
                    entry.count |= new.count;
                } else {
                    entry.count += new.count;
                }
                return;
            }
            if entry.key.0[W - 1] == 0 {
                *entry = *new;
                self.used += 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) -> Result<()> {
        let mut larger = Self::new(self.slots)?;
        for (key, count) in self.iter() {
            larger.add_now(key.hash(), &Entry { key, count });
        }
        (larger.batch, larger.waiting) = (self.batch, self.waiting);
        *self = larger;
        Ok(())
    }

    #[inline(always)]
    fn prefetch(&self, hash: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let at = hash as usize & (self.slots - 1);
            // SAFETY: a prefetch hint, valid for any address.
            #[allow(unsafe_code)]
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(
                    self.memory.as_ptr().wrapping_add(at * size_of::<Entry<W>>()).cast(),
                );
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = hash;
    }

    #[inline(always)]
    fn entries(&self) -> &[Entry<W>] {
        // SAFETY: the mapping has `slots` entries, is aligned to a page and initialised with zeros,
        // and any bits are a valid entry.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.slots)
        }
    }

    #[inline(always)]
    fn entries_mut(&mut self) -> &mut [Entry<W>] {
        // SAFETY: as in `entries`, and `self` is borrowed mutably.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.as_mut_ptr().cast(), self.slots)
        }
    }
}
