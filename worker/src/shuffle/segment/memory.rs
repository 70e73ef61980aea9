//! Segments in memory: sorted buffers, and their reservation.

use std::ops::Range;
use std::sync::Arc;

use windrow_jobs::Audit;
use windrow_jobs::pairs::RecordRef;

use crate::memory::Reservation;
use crate::shuffle::block::Codec;
use crate::shuffle::pairs::{MemorySource, SortedBuffer, SortedPairs};

/// The output of a map attempt in memory: one sorted run or several. The memory stays reserved for
/// as long as anybody reads it.
pub struct MemorySegment {
    runs: Vec<SortedBuffer>,
    codec: Codec,
    _reservation: Reservation,
}

impl MemorySegment {
    /// Accounts for `runs` with `reservation`. If they are written to a file, `codec` compresses
    /// them.
    pub fn new(runs: Vec<SortedBuffer>, codec: Codec, mut reservation: Reservation) -> Self {
        reservation.resize(memory_bytes(&runs));
        Self { runs, codec, _reservation: reservation }
    }

    /// The compression of its file, if it gets one.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Its runs.
    pub fn runs(&self) -> &[SortedBuffer] {
        &self.runs
    }

    /// Memory that it takes up.
    pub fn memory_bytes(&self) -> u64 {
        memory_bytes(&self.runs)
    }

    /// The pairs of `partition`: a source for each run that has some.
    pub fn sources(self: &Arc<Self>, partition: u32) -> Vec<MemorySource> {
        let run = |number| Arc::new(Run { segment: Arc::clone(self), number });
        let numbers = 0..self.runs.len();
        numbers.filter_map(|number| MemorySource::new(run(number), partition)).collect()
    }
}

/// Memory that these take up.
fn memory_bytes(runs: &[SortedBuffer]) -> u64 {
    runs.iter().map(|run| run.memory_bytes() as u64).sum()
}

/// A run of a segment, which it keeps in memory.
struct Run {
    segment: Arc<MemorySegment>,
    number: usize,
}

impl Run {
    #[inline]
    fn pairs(&self) -> &SortedBuffer {
        &self.segment.runs[self.number]
    }
}

impl SortedPairs for Run {
    fn partitions(&self) -> u32 {
        self.pairs().partitions()
    }

    fn len(&self, partition: u32) -> usize {
        self.pairs().len(partition)
    }

    fn audit(&self, partition: u32) -> Audit {
        self.pairs().audit(partition)
    }

    #[inline]
    fn get(&self, partition: u32, index: usize) -> RecordRef<'_> {
        self.pairs().get(partition, index)
    }

    fn read<'a>(&'a self, partition: u32, indices: Range<usize>, records: &mut Vec<RecordRef<'a>>) {
        self.pairs().read(partition, indices, records);
    }
}
