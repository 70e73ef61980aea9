//! Reads a sorted buffer as a source of batches.

use std::ops::Range;

use super::RecordBuffer;
use crate::failure::FailureCause;
use crate::program::{RecordBatches, RecordRef};

/// Most pairs in a batch: few enough that they stay in the cache.
const BATCH_RECORDS_MAX: usize = 1024;

/// The pairs of a sorted [`RecordBuffer`] within a range of indices, which lie in one partition.
#[derive(Debug)]
pub struct BufferBatches<'a> {
    buffer: &'a RecordBuffer,
    rest: Range<usize>,
    batch: Vec<RecordRef<'a>>,
}

impl<'a> BufferBatches<'a> {
    /// The pairs of `partition`, or none. `buffer` has to be sorted.
    pub fn new(buffer: &'a RecordBuffer, partition: u32) -> Self {
        Self { buffer, rest: buffer.partition_range(partition), batch: Vec::new() }
    }
}

impl RecordBatches for BufferBatches<'_> {
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause> {
        self.batch.clear();
        let next = self.rest.by_ref().take(BATCH_RECORDS_MAX);
        self.batch.extend(next.map(|index| self.buffer.get(index).1));
        Ok(if self.batch.is_empty() { None } else { Some(&self.batch) })
    }
}
