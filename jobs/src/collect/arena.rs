//! Bytes in blocks that never move: growing copies nothing, and a position stays valid for the
//! arena's lifetime.
//!
//! Blocks are small at first, so that a small job stays small, and grow with the arena. Records are
//! only removed all together. An arena that is filled a second time gets huge pages: the cost of
//! clearing them is paid once, and records are read in random order each time.

use super::huge_pages;
use crate::pairs::RecordRef;
use crate::prefetch::prefetch;
use crate::varint;

/// Size of the first block; each further block is twice as large as the previous one, up to the
/// usual size.
const BLOCK_BYTES_MIN: usize = 16 << 10;
const BLOCK_BYTES_USUAL: usize = 1 << 20;

/// In a large arena, a block is one part in this many of the arena, so that little of the allocated
/// memory stays unused.
const GROWTH_PARTS: usize = 8;
const BLOCK_BYTES_MAX: usize = 16 << 20;

/// A block counts as just begun if less than one part in this many is filled.
const BEGUN_PARTS: usize = 16;

/// How many blocks are tried to find an empty one that is large enough.
const BLOCKS_TRIED: usize = (BLOCK_BYTES_USUAL / BLOCK_BYTES_MIN).ilog2() as usize + 1;

/// How many cache lines of a record are prefetched. From there on the processor prefetches by
/// itself.
const PREFETCH_LINES: usize = 2;
const LINE_BYTES: usize = 64;

/// An append-only store of bytes. The upper half of a position is the block's number, the lower
/// half an offset.
#[derive(Debug, Default)]
pub(super) struct Arena {
    blocks: Vec<Vec<u8>>,
    /// The block that is being filled; records larger than a usual block have their own blocks.
    current: usize,
    capacity_bytes: usize,
    has_large_pages: bool,
}

impl Arena {
    /// The next position, and a vector with spare capacity for `bytes` bytes there. The caller must
    /// not append more.
    #[inline]
    pub(super) fn reserve(&mut self, bytes: usize) -> (u64, &mut Vec<u8>) {
        let fits = |block: &Vec<u8>| block.capacity() - block.len() >= bytes;
        let index = match self.blocks.get(self.current) {
            Some(block) if fits(block) => self.current,
            _ => self.add_block(bytes),
        };
        let block = &mut self.blocks[index];
        ((index as u64) << 32 | block.len() as u64, block)
    }

    #[cold]
    fn add_block(&mut self, bytes: usize) -> usize {
        // After `clear` there are empty blocks after the current one; all but the first few have at
        // least the usual size.
        let empty = |block: &Vec<u8>| block.is_empty() && block.capacity() >= bytes;
        let rest = self.blocks.iter().enumerate().skip(self.current + 1);
        if bytes <= BLOCK_BYTES_USUAL
            && let Some((index, _)) = rest.take(BLOCKS_TRIED).find(|(_, block)| empty(block))
        {
            self.current = index;
            return index;
        }
        let index = self.blocks.len();
        let capacity = if bytes <= BLOCK_BYTES_USUAL {
            self.current = index;
            self.next_block_bytes().max(bytes)
        } else {
            bytes
        };
        let mut block = Vec::with_capacity(capacity);
        if self.has_large_pages {
            huge_pages::advise(block.spare_capacity_mut());
        }
        self.blocks.push(block);
        self.capacity_bytes += self.blocks[index].capacity();
        index
    }

    fn next_block_bytes(&self) -> usize {
        let doublings = self.blocks.len().min(BLOCK_BYTES_USUAL.ilog2() as usize);
        let part = (self.capacity_bytes / GROWTH_PARTS).next_multiple_of(BLOCK_BYTES_USUAL);
        (BLOCK_BYTES_MIN << doublings).min(part.clamp(BLOCK_BYTES_USUAL, BLOCK_BYTES_MAX))
    }

    /// Appends a record with its lengths and returns its position. Both lengths must be below 2^32.
    #[inline]
    pub(super) fn push_record(&mut self, record: RecordRef<'_>) -> u64 {
        let RecordRef { key, value } = record;
        if (key.len() | value.len()) < 0x80 {
            let (at, block) = self.reserve(2 + key.len() + value.len());
            block.extend_from_slice(&[key.len() as u8, value.len() as u8]);
            block.extend_from_slice(key);
            block.extend_from_slice(value);
            return at;
        }
        let (key_len, value_len) = (key.len() as u64, value.len() as u64);
        let header_bytes = varint::len(key_len) + varint::len(value_len);
        let (at, block) = self.reserve(header_bytes + key.len() + value.len());
        varint::write(key_len, block);
        varint::write(value_len, block);
        block.extend_from_slice(key);
        block.extend_from_slice(value);
        at
    }

    /// The record that was pushed at this position. O(1).
    #[inline(always)]
    pub(super) fn record(&self, at: u64) -> RecordRef<'_> {
        let mut bytes = self.bytes_from(at);
        let (key_len, value_len) = match bytes {
            [key_len, value_len, rest @ ..] if (key_len | value_len) < 0x80 => {
                bytes = rest;
                (usize::from(*key_len), usize::from(*value_len))
            }
            _ => (long_length(&mut bytes), long_length(&mut bytes)),
        };
        let (key, rest) = bytes.split_at(key_len);
        RecordRef { key, value: &rest[..value_len] }
    }

    /// All bytes from this position to the end of its block.
    #[inline]
    pub(super) fn bytes_from(&self, at: u64) -> &[u8] {
        &self.blocks[(at >> 32) as usize][at as u32 as usize..]
    }

    /// Prefetches the bytes at this position.
    #[inline]
    pub(super) fn prefetch(&self, at: u64) {
        let start = self.blocks[(at >> 32) as usize].as_ptr().wrapping_add(at as u32 as usize);
        for line in 0..PREFETCH_LINES {
            prefetch(start.wrapping_add(line * LINE_BYTES));
        }
    }

    /// Prefetches the end of a record whose start is cached: in most jobs, records are short.
    #[inline]
    pub(super) fn prefetch_end(record: RecordRef<'_>) {
        prefetch(record.value.as_ptr().wrapping_add(record.value.len().saturating_sub(1)));
    }

    /// Frees the blocks from number `first` on that end at or before `end`, and returns the number
    /// of the next block.
    pub(super) fn free(&mut self, first: usize, end: u64) -> usize {
        let (last, offset) = ((end >> 32) as usize, end as u32 as usize);
        let next = last + usize::from(offset == self.blocks[last].len());
        self.blocks[first..next].fill_with(Vec::new);
        next
    }

    /// Memory of all blocks. O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.capacity_bytes + self.blocks.capacity() * size_of::<Vec<u8>>()
    }

    /// Removes all records and keeps the memory, except blocks of large records and a last block
    /// that was just begun: otherwise the arena could grow with each use.
    pub(super) fn clear(&mut self) {
        if let Some(block) = self.blocks.get_mut(self.current)
            && block.len() < block.capacity() / BEGUN_PARTS
        {
            *block = Vec::new();
        }
        self.blocks.retain_mut(|block| {
            let is_of_large = block.len() == block.capacity() && block.len() > BLOCK_BYTES_USUAL;
            block.clear();
            block.capacity() > 0 && !is_of_large
        });
        if !self.has_large_pages {
            self.has_large_pages = true;
            self.blocks.iter_mut().for_each(|block| huge_pages::renew(block.spare_capacity_mut()));
        }
        self.capacity_bytes = self.blocks.iter().map(Vec::capacity).sum();
        self.current = 0;
    }

    /// Takes over all blocks of `other` without copying them, and returns the offset to add to its
    /// positions.
    pub(super) fn append(&mut self, other: Self) -> u64 {
        let base = self.blocks.len();
        self.current = base + other.current;
        self.blocks.extend(other.blocks);
        self.capacity_bytes += other.capacity_bytes;
        (base as u64) << 32
    }
}

fn long_length(bytes: &mut &[u8]) -> usize {
    let length = varint::read(bytes);
    debug_assert!(length.is_some(), "the arena wrote it");
    length.unwrap_or_default() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reused() {
        let mut arena = Arena::default();
        let large = vec![7; 3 << 20];
        let mut fill = |sizes: &[usize]| {
            for _ in 0..40 {
                for size in sizes {
                    let record = RecordRef { key: &large[..*size], value: b"v" };
                    let at = arena.push_record(record);
                    assert_eq!(arena.record(at), record);
                }
            }
            let taken = arena.memory_bytes();
            arena.clear();
            (taken, arena.memory_bytes())
        };
        let (first, kept) = fill(&[40_000, 100_000]);
        assert_eq!(first, kept);
        for sizes in [&[40_000, 100_000], &[100_000, 40_000]] {
            assert_eq!(fill(sizes), (first, kept));
        }
        // Large records have their own blocks, which are not kept.
        let (taken, kept) = fill(&[3 << 20]);
        assert!(taken > 40 * (3 << 20) && kept < first + (1 << 20), "{taken} {kept}");
    }
}
