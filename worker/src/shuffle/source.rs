//! Where a merge gets its pairs: sorted sources, read block by block.

use std::ops::Range;

use windrow_jobs::FailureCause;
use windrow_jobs::collect::RecordBuffer;

use super::block::{Block, pair_bytes};

/// Size of the blocks that are cut from a buffer.
const BLOCK_BYTES: usize = 64 << 10;

/// Memory that a source takes up in a merge, about: a block, its table of entries, and what was read ahead.
pub const SOURCE_BYTES: u64 = 256 << 10;

/// Pairs sorted by key and value, in blocks.
pub trait BlockSource: Send {
    /// Tells that blocks will be wanted soon, before the first is.
    fn start(&mut self) {}

    /// Makes `block` the next pairs; `false`, and none, at the end. After an error the source is of no use.
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause>;

    /// Whether it is known that no block follows. A merge then need not stop to ask.
    fn is_last(&self) -> bool {
        false
    }
}

/// Pairs of one partition of a sorted buffer.
pub struct BufferSource<'a> {
    buffer: &'a RecordBuffer,
    partition: u32,
    range: Range<usize>,
}

impl<'a> BufferSource<'a> {
    /// The pairs of `partition`; `buffer` must be sorted. O(log n).
    pub fn new(buffer: &'a RecordBuffer, partition: u32) -> Self {
        Self { buffer, partition, range: 0..buffer.partition_len(partition) }
    }

    /// Whether the partition has no pairs.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl BlockSource for BufferSource<'_> {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        block.clear();
        while block.data_bytes() < BLOCK_BYTES
            && let Some(index) = self.range.next()
        {
            let record = self.buffer.get(self.partition, index);
            pair_bytes(record)?;
            block.push(record);
        }
        Ok(!block.is_empty())
    }

    fn is_last(&self) -> bool {
        self.range.is_empty()
    }
}
