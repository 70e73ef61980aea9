//! Sorted pairs in memory, and the sources that lend them.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use windrow_jobs::collect::{RecordBuffer, SortTask};
use windrow_jobs::pairs::RecordRef;
use windrow_jobs::{Audit, FailureCause};

use super::block::Block;
use super::source::{BlockSource, Position, behind};

/// Pairs by partition, each partition sorted by key and value.
pub trait SortedPairs: Send + Sync {
    /// Number of partitions, which are numbered from 0.
    fn partitions(&self) -> u32;

    /// Number of pairs of `partition`; 0 if it does not exist.
    fn len(&self, partition: u32) -> usize;

    /// The audit of the pairs of `partition`, taken when they were collected. O(1).
    fn audit(&self, partition: u32) -> Audit;

    /// The pair at `index`, which is below [`len`](Self::len). O(1).
    fn get(&self, partition: u32, index: usize) -> RecordRef<'_>;

    /// Appends the pairs at `indices` to `records`. Prefetches scattered pairs, so that their cache
    /// misses overlap.
    fn read<'a>(&'a self, partition: u32, indices: Range<usize>, records: &mut Vec<RecordRef<'a>>) {
        records.extend(indices.map(|index| self.get(partition, index)));
    }
}

/// A buffer that has been sorted.
pub struct SortedBuffer(RecordBuffer);

impl SortedBuffer {
    /// Sorts `buffer` on this thread.
    pub fn new(mut buffer: RecordBuffer) -> Self {
        buffer.sort();
        Self(buffer)
    }

    /// Sorts `buffer`, several partitions at a time; `sort` runs one of the tasks.
    pub fn in_parallel(
        mut buffer: RecordBuffer,
        sort: impl Fn(SortTask<'_>) + Send + Sync,
    ) -> Self {
        buffer.sort_tasks().into_par_iter().with_max_len(1).for_each(sort);
        Self(buffer)
    }

    /// Joins buffers of some partitions each, whose pairs are in order.
    pub fn concat(buffers: Vec<RecordBuffer>) -> Self {
        Self(RecordBuffer::concat(buffers))
    }

    /// The buffer's memory, without its pairs.
    pub fn emptied(self) -> RecordBuffer {
        let mut buffer = self.0;
        buffer.clear();
        buffer
    }

    /// Number of pairs.
    pub fn records(&self) -> u64 {
        self.0.len() as u64
    }

    /// Bytes of all keys and values together.
    pub fn records_bytes(&self) -> u64 {
        self.0.records_bytes()
    }

    /// Memory that the pairs take up.
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}

impl SortedPairs for SortedBuffer {
    fn partitions(&self) -> u32 {
        self.0.partitions()
    }

    fn len(&self, partition: u32) -> usize {
        self.0.partition_len(partition)
    }

    fn audit(&self, partition: u32) -> Audit {
        self.0.audit(partition)
    }

    #[inline]
    fn get(&self, partition: u32, index: usize) -> RecordRef<'_> {
        self.0.get(partition, index)
    }

    fn read<'a>(&'a self, partition: u32, indices: Range<usize>, records: &mut Vec<RecordRef<'a>>) {
        self.0.read(partition, indices, records);
    }
}

/// One partition of pairs in memory, as a source. It lends the pairs: nothing is copied.
pub struct MemorySource {
    /// The pairs, until they have been lent, all at once.
    pairs: Option<Arc<dyn SortedPairs>>,
    partition: u32,
    /// The first pair that is lent.
    first: usize,
    promised: Audit,
}

impl MemorySource {
    /// The pairs of `partition`, or `None` if there are none.
    pub fn new(pairs: Arc<dyn SortedPairs>, partition: u32) -> Option<Self> {
        let promised = pairs.audit(partition);
        let is_empty = pairs.len(partition) == 0;
        (!is_empty).then_some(Self { pairs: Some(pairs), partition, first: 0, promised })
    }
}

impl BlockSource for MemorySource {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        block.clear();
        let Some(pairs) = self.pairs.take() else { return Ok(false) };
        let len = pairs.len(self.partition);
        block.lend(pairs, self.partition, self.first.min(len)..len);
        Ok(true)
    }

    fn position(&self, used: usize) -> Option<Position> {
        // Before they were lent, none of them can have been used.
        Some(Position { records: (self.first + used) as u64, block: None })
    }

    fn seek(&mut self, position: &Position) {
        self.first = usize::try_from(position.records).unwrap_or(usize::MAX);
    }

    fn is_last(&self) -> bool {
        self.pairs.is_none()
    }

    fn promised(&self) -> Audit {
        behind(self.promised, self.first as u64)
    }

    fn blame(&self, message: String) -> FailureCause {
        FailureCause::Corrupt { file: "memory".into(), offset: 0, message }
    }
}
