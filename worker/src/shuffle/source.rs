//! The sources of a merge: sorted pairs, read block by block.

use windrow_jobs::fan_in::SOURCE_BYTES;
use windrow_jobs::{Audit, FailureCause};

use super::block::{Block, PAIR_BYTES_MIN};

/// Raw size at which a block in a file is closed.
pub const BLOCK_BYTES: usize = 48 << 10;

/// Most memory that a sorted run takes up in a merge: a run of `records` pairs whose blocks have up
/// to `block_bytes` of keys and values. A run of few pairs is a single block and takes up less, so
/// that more of such runs are merged at once.
pub fn source_bytes(records: u64, block_bytes: u64) -> u64 {
    /// Overhead of any source.
    const FIXED_BYTES: u64 = 4 << 10;
    /// The bytes as read, decompressed, and the entries of its pairs.
    const TIMES: u64 = SOURCE_BYTES.div_ceil(BLOCK_BYTES as u64);
    /// A single pair, as read and decompressed.
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

/// Most files that these keep open while they are merged.
pub fn open_files(sources: &[Box<dyn BlockSource + '_>]) -> usize {
    sources.iter().filter(|source| source.keeps_file_open()).count()
}

/// A position in a source. Another source of the same pairs can resume there, so that the first
/// one, its files and its buffers need not stay open for a slow reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Number of pairs before it.
    pub records: u64,
    /// In a file from which a block has been read: the last block.
    pub block: Option<BlockPlace>,
}

/// The place of a block in a partition of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// Which of the partition's extents it lies in, counted from 1.
    pub extent: usize,
    /// Offset in the file.
    pub offset: u64,
    /// Number of pairs in the blocks before it.
    pub records: u64,
}

/// The part of a promised audit after so many pairs; their digest is not known.
pub fn behind(promised: Audit, records: u64) -> Audit {
    match records {
        0 => promised,
        before => Audit { records: promised.records.saturating_sub(before), digest: 0 },
    }
}

/// Pairs sorted by key and value, in blocks.
pub trait BlockSource: Send {
    /// Announces that blocks will be read soon.
    fn start(&mut self) {}

    /// Reads the next pairs into `block`; returns `false`, and an empty block, at the end. After an
    /// error the source must not be used any more.
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause>;

    /// Most memory that it takes up in a merge, as far as that is known.
    fn memory_bytes(&self) -> u64 {
        SOURCE_BYTES
    }

    /// Whether it keeps a file open between two blocks.
    fn keeps_file_open(&self) -> bool {
        false
    }

    /// The position after `used` pairs of the last block. `None` for a source that cannot be opened
    /// a second time.
    fn position(&self, used: usize) -> Option<Position> {
        let _ = used;
        None
    }

    /// Skips all pairs before `position`, which another source of the same pairs has reported. To
    /// be called before the first block is read.
    fn seek(&mut self, position: &Position) {
        debug_assert!(position.records == 0, "only a source with positions can resume at one");
    }

    /// Whether it is known that no block follows. A merge then need not stop to ask.
    fn is_last(&self) -> bool {
        false
    }

    /// The audit of all its pairs, taken when they were collected, stored beside them, and compared
    /// with the pairs that arrive. Known at the end at the latest. After a [`Position`], only the
    /// number of pairs is known.
    fn promised(&self) -> Audit;

    /// The failure to report when the pairs are not the promised ones.
    fn blame(&self, message: String) -> FailureCause;
}
