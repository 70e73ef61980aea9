//! Segments in memory: a sorted buffer, and its reservation.

use std::ops::Range;

use windrow_jobs::Audit;
use windrow_jobs::pairs::RecordRef;

use crate::memory::Reservation;
use crate::shuffle::block::Codec;
use crate::shuffle::pairs::{SortedBuffer, SortedPairs};

/// The output of a map attempt in memory. The memory stays reserved for as long as anybody reads
/// it.
pub struct MemorySegment {
    pairs: SortedBuffer,
    codec: Codec,
    _reservation: Reservation,
}

impl MemorySegment {
    /// Accounts for `pairs` with `reservation`. If they are written to a file, `codec` compresses
    /// them.
    pub fn new(pairs: SortedBuffer, codec: Codec, mut reservation: Reservation) -> Self {
        reservation.resize(pairs.memory_bytes() as u64);
        Self { pairs, codec, _reservation: reservation }
    }

    /// The compression of its file, if it gets one.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Memory that it takes up.
    pub fn memory_bytes(&self) -> u64 {
        self.pairs.memory_bytes() as u64
    }
}

impl SortedPairs for MemorySegment {
    fn partitions(&self) -> u32 {
        self.pairs.partitions()
    }

    fn len(&self, partition: u32) -> usize {
        self.pairs.len(partition)
    }

    fn audit(&self, partition: u32) -> Audit {
        self.pairs.audit(partition)
    }

    #[inline]
    fn get(&self, partition: u32, index: usize) -> RecordRef<'_> {
        self.pairs.get(partition, index)
    }

    fn read<'a>(&'a self, partition: u32, indices: Range<usize>, records: &mut Vec<RecordRef<'a>>) {
        self.pairs.read(partition, indices, records);
    }
}
