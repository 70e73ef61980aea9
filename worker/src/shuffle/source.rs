//! Where a merge gets its pairs: sorted sources, read block by block.

use windrow_jobs::fan_in::SOURCE_BYTES;
use windrow_jobs::{Audit, FailureCause};

use super::block::{Block, PAIR_BYTES_MIN};

/// Raw size at which a block in a file is closed.
pub const BLOCK_BYTES: usize = 48 << 10;

/// Memory that a sorted run of so many pairs takes up in a merge, at most, whose blocks have up to `block_bytes` of keys and values.
/// One of few pairs, all of which are one block, takes up less than others, and more of them are merged at once.
pub fn source_bytes(records: u64, block_bytes: u64) -> u64 {
    /// What is there whatever its size.
    const FIXED_BYTES: u64 = 4 << 10;
    /// As read, unpacked, and what finds its pairs.
    const TIMES: u64 = SOURCE_BYTES.div_ceil(BLOCK_BYTES as u64);
    /// Of a single pair, as read and unpacked.
    const TIMES_ALONE: u64 = 2;
    if block_bytes > BLOCK_BYTES as u64 {
        return (block_bytes * TIMES_ALONE).max(SOURCE_BYTES);
    }
    let block_bytes = block_bytes.max(records.saturating_mul(PAIR_BYTES_MIN as u64));
    block_bytes.saturating_mul(TIMES).saturating_add(FIXED_BYTES).min(SOURCE_BYTES)
}

/// Memory that these take up if all are merged at once.
pub fn memory_bytes(sources: &[Box<dyn BlockSource + '_>]) -> u64 {
    sources.iter().map(|source| source.memory_bytes()).sum()
}

/// Pairs sorted by key and value, in blocks.
pub trait BlockSource: Send {
    /// Tells that blocks will be wanted soon, before the first is.
    fn start(&mut self) {}

    /// Makes `block` the next pairs; `false`, and none, at the end. After an error the source is of no use.
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause>;

    /// Memory that it takes up in a merge, at most, as far as that is known.
    fn memory_bytes(&self) -> u64 {
        SOURCE_BYTES
    }

    /// Whether it is known that no block follows. A merge then need not stop to ask.
    fn is_last(&self) -> bool {
        false
    }

    /// What all its pairs are together, as it was found when they were collected: carried beside them, and compared with
    /// what arrives. Known at the end at the latest.
    fn promised(&self) -> Audit;

    /// The failure of whoever finds that the pairs are not those that were promised.
    fn blame(&self, message: String) -> FailureCause;
}
