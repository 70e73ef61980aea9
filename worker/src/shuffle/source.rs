//! Where a merge gets its pairs: sorted sources, read block by block.

use windrow_jobs::fan_in::SOURCE_BYTES;
use windrow_jobs::{Audit, FailureCause};

use super::block::{Block, PAIR_BYTES_MIN};

/// Raw size at which a block in a file is closed.
pub const BLOCK_BYTES: usize = 48 << 10;

/// Most memory that a sorted run takes up in a merge: a run of `records` pairs whose blocks have up
/// to `block_bytes` of keys and values. A run of few pairs is a single block and takes up less, so
/// that more of such runs are merged at once.
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

/// Files that these keep open while they are merged, at most.
pub fn open_files(sources: &[Box<dyn BlockSource + '_>]) -> usize {
    sources.iter().filter(|source| source.keeps_file_open()).count()
}

/// How far a source has been read. Another source of the same pairs can go on there, so that the
/// first one, its files and its buffers need not wait for whoever reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Pairs before it.
    pub records: u64,
    /// Of a file, once a block of it has been read: the last one.
    pub block: Option<BlockPlace>,
}

/// Where a block of a partition of a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// Which of the partition's extents it lies in, counted from 1.
    pub extent: usize,
    /// From the start of the file.
    pub offset: u64,
    /// Pairs in the blocks before it.
    pub records: u64,
}

/// What is left of what was promised, behind so many pairs: their digest is not known.
pub fn behind(promised: Audit, records: u64) -> Audit {
    match records {
        0 => promised,
        before => Audit { records: promised.records.saturating_sub(before), digest: 0 },
    }
}

/// Pairs sorted by key and value, in blocks.
pub trait BlockSource: Send {
    /// Tells that blocks will be wanted soon, before the first is.
    fn start(&mut self) {}

    /// Makes `block` the next pairs; `false`, and none, at the end. After an error the source is of
    /// no use.
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause>;

    /// Memory that it takes up in a merge, at most, as far as that is known.
    fn memory_bytes(&self) -> u64 {
        SOURCE_BYTES
    }

    /// Whether it keeps a file open between two blocks.
    fn keeps_file_open(&self) -> bool {
        false
    }

    /// Where to go on once `used` pairs of the last block have been used. `None` of a source that
    /// cannot be made a second time.
    fn position(&self, used: usize) -> Option<Position> {
        let _ = used;
        None
    }

    /// Leaves out all pairs before `position`, which is that of another source of the same pairs.
    /// To be called before the first block is taken.
    fn seek(&mut self, position: &Position) {
        debug_assert!(position.records == 0, "only a source that has positions can go on at one");
    }

    /// Whether it is known that no block follows. A merge then need not stop to ask.
    fn is_last(&self) -> bool {
        false
    }

    /// What all its pairs are together, as it was found when they were collected: carried beside
    /// them, and compared with what arrives. Known at the end at the latest. Behind a [`Position`]
    /// only their number is known.
    fn promised(&self) -> Audit;

    /// The failure of whoever finds that the pairs are not those that were promised.
    fn blame(&self, message: String) -> FailureCause;
}
