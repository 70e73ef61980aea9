//! Reads a sorted buffer as a source of batches.

use std::ops::Range;

use super::RecordBuffer;
use crate::failure::FailureCause;
use crate::pairs::{RecordBatches, RecordRef};

/// Most pairs in a batch, few enough to stay in the cache.
const BATCH_RECORDS_MAX: usize = 1024;

/// The pairs of one partition of a sorted [`RecordBuffer`].
#[derive(Debug)]
pub struct BufferBatches<'a> {
    buffer: &'a RecordBuffer,
    partition: u32,
    rest: Range<usize>,
    batch: Vec<RecordRef<'a>>,
}

impl<'a> BufferBatches<'a> {
    /// The pairs of `partition`, if any. `buffer` must be sorted.
    pub fn new(buffer: &'a RecordBuffer, partition: u32) -> Self {
        let rest = 0..buffer.partition_len(partition);
        Self { buffer, partition, rest, batch: Vec::new() }
    }
}

impl RecordBatches for BufferBatches<'_> {
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause> {
        let end = self.rest.end.min(self.rest.start + BATCH_RECORDS_MAX);
        self.batch.clear();
        self.buffer.read(self.partition, self.rest.start..end, &mut self.batch);
        self.rest.start = end;
        Ok(if self.batch.is_empty() { None } else { Some(&self.batch) })
    }
}
