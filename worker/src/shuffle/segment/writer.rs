//! Writes segments: several partitions at a time, from several threads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crc_fast::{CrcAlgorithm::Crc64Nvme, checksum};
use windrow_jobs::FailureCause;
use windrow_jobs::program::{RecordRef, RecordSink};

use super::{Extent, MAGIC, PartitionIndex, index};
use crate::files::TemporaryFile;
use crate::shuffle::block::{BlockBuilder, pair_bytes};

/// Raw size at which a block is closed. LZ4 looks back no farther, and a merge holds one block of each source.
const BLOCK_BYTES: usize = 64 << 10;

/// Size at which the blocks of a partition are written.
const EXTENT_BYTES: usize = 1 << 20;

/// A segment that is being written. Dropped before [`finish`](Self::finish), it leaves no file.
pub struct SegmentWriter {
    file: File,
    temporary: TemporaryFile,
    end: AtomicU64,
}

impl SegmentWriter {
    /// Creates the file, in place of whatever is there.
    pub fn create(path: PathBuf) -> Result<Self, FailureCause> {
        let file = File::create(&path).map_err(|error| FailureCause::io(&path, &error))?;
        let this = Self { file, temporary: TemporaryFile::new(path), end: AtomicU64::new(0) };
        this.append(MAGIC)?;
        Ok(this)
    }

    /// Starts a partition. Its pairs must come in order.
    pub fn partition(&self, partition: u32) -> PartitionWriter<'_> {
        PartitionWriter {
            segment: self,
            builder: BlockBuilder::default(),
            pending: Vec::new(),
            index: PartitionIndex { partition, records: 0, extents: Vec::new() },
        }
    }

    /// Writes the index and closes the file. Returns it with its size.
    pub fn finish(
        self,
        mut partitions: Vec<PartitionIndex>,
    ) -> Result<(TemporaryFile, u64), FailureCause> {
        partitions.retain(|partition| partition.records > 0);
        partitions.sort_unstable_by_key(|partition| partition.partition);
        let index_offset = self.end.load(Ordering::Relaxed);
        let mut tail = index::encode(&partitions);
        tail.extend_from_slice(&index_offset.to_le_bytes());
        let crc64 = checksum(Crc64Nvme, &tail);
        tail.extend_from_slice(&crc64.to_le_bytes());
        tail.extend_from_slice(MAGIC);
        self.append(&tail)?;
        Ok((self.temporary, index_offset + tail.len() as u64))
    }

    fn append(&self, bytes: &[u8]) -> Result<Extent, FailureCause> {
        let offset = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| FailureCause::io(self.path(), &error))?;
        Ok(Extent { offset, bytes: bytes.len() as u64 })
    }

    fn path(&self) -> &Path {
        self.temporary.path()
    }
}

/// Writes the pairs of one partition.
pub struct PartitionWriter<'a> {
    segment: &'a SegmentWriter,
    builder: BlockBuilder,
    pending: Vec<u8>,
    index: PartitionIndex,
}

impl PartitionWriter<'_> {
    /// Writes what is left and returns the partition's entry in the index.
    pub fn finish(mut self) -> Result<PartitionIndex, FailureCause> {
        self.close_block()?;
        self.write_pending()?;
        Ok(self.index)
    }

    fn close_block(&mut self) -> Result<(), FailureCause> {
        if !self.builder.is_empty() {
            self.builder.finish_into(&mut self.pending);
        }
        if self.pending.len() < EXTENT_BYTES { Ok(()) } else { self.write_pending() }
    }

    fn write_pending(&mut self) -> Result<(), FailureCause> {
        if !self.pending.is_empty() {
            self.index.extents.push(self.segment.append(&self.pending)?);
            self.pending.clear();
        }
        Ok(())
    }
}

impl RecordSink for PartitionWriter<'_> {
    #[inline]
    fn push(&mut self, record: RecordRef<'_>) -> Result<(), FailureCause> {
        let bytes = pair_bytes(record)?;
        if self.builder.raw_bytes() + bytes > BLOCK_BYTES {
            self.close_block()?;
        }
        self.builder.push(record);
        self.index.records += 1;
        Ok(())
    }
}
