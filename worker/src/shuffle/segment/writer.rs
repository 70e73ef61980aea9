//! Writes segments: several runs and partitions at a time, from several threads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use windrow_jobs::checksum::crc64;
use windrow_jobs::pairs::{RecordRef, RecordSink};
use windrow_jobs::{Audit, FailureCause};
use windrow_security::files::create_private;

use super::index::{self, Encoded};
use super::{Extent, MAGIC, Owner, PartitionIndex, Segment};
use crate::files::TemporaryFile;
use crate::shuffle::block::{BlockBuilder, Codec, block_head};
use crate::shuffle::source::BLOCK_BYTES;

/// Size at which the blocks of a partition are written.
const EXTENT_BYTES: usize = 1 << 20;

/// Extents above this size are the block of a single pair.
pub(super) const LARGE_EXTENT_BYTES: u64 = 4 << 20;

/// A segment that is being written. Dropped before [`finish`](Self::finish), it leaves no file.
pub struct SegmentWriter {
    file: File,
    temporary: TemporaryFile,
    codec: Codec,
    end: AtomicU64,
    runs: AtomicU32,
}

impl SegmentWriter {
    /// Creates the file, for pairs of `owner`, replacing any file of that name.
    pub fn create(path: PathBuf, codec: Codec, owner: &Owner) -> Result<Self, FailureCause> {
        let file = create_private(&path).map_err(|error| FailureCause::io(&path, &error))?;
        let (end, runs) = (AtomicU64::new(0), AtomicU32::new(0));
        let this = Self { file, temporary: TemporaryFile::new(path), codec, end, runs };
        this.append(&owner.header())?;
        Ok(this)
    }

    /// Starts a run. Other runs may still be unfinished.
    pub fn begin_run(&self) -> RunWriter<'_> {
        RunWriter { segment: self, run: self.runs.fetch_add(1, Ordering::Relaxed) }
    }

    /// Bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Writes the index, made of the entries of all runs' partitions, and closes the file. Returns
    /// the file and its size.
    pub fn finish(self, index: Vec<PartitionIndex>) -> Result<(TemporaryFile, u64), FailureCause> {
        let Encoded { pages, directory } = index::encode(index, self.written_bytes());
        self.append(&pages)?;
        let mut tail = Vec::new();
        directory.write(&mut tail);
        tail.extend_from_slice(&directory.end().to_le_bytes());
        let crc64 = crc64(&tail);
        tail.extend_from_slice(&crc64.to_le_bytes());
        tail.extend_from_slice(MAGIC);
        let end = self.append(&tail)?;
        Ok((self.temporary, end.offset + end.bytes))
    }

    /// Closes a file that nobody else will open: its index stays in memory. Each partition can be
    /// read once, and the file is removed when nobody reads it any more.
    pub fn into_temporary(self, index: Vec<PartitionIndex>) -> Segment {
        let index = index::encode(index, self.written_bytes());
        Segment::temporary(self.temporary, index)
    }

    fn append(&self, bytes: &[u8]) -> Result<Extent, FailureCause> {
        self.append_all(&[bytes])
    }

    /// Appends several pieces as one.
    fn append_all(&self, pieces: &[&[u8]]) -> Result<Extent, FailureCause> {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let offset = self.end.fetch_add(bytes, Ordering::Relaxed);
        let mut at = offset;
        for piece in pieces {
            let written = self.file.write_all_at(piece, at);
            written.map_err(|error| FailureCause::io(self.path(), &error))?;
            at += piece.len() as u64;
        }
        Ok(Extent { offset, bytes })
    }

    fn path(&self) -> &Path {
        self.temporary.path()
    }
}

/// Writes one run: each partition at most once, in any order, concurrently or not.
#[derive(Clone, Copy)]
pub struct RunWriter<'a> {
    segment: &'a SegmentWriter,
    run: u32,
}

impl<'a> RunWriter<'a> {
    /// Starts a partition. Its pairs must come in order.
    pub fn partition(self, partition: u32) -> PartitionWriter<'a> {
        PartitionWriter {
            segment: self.segment,
            builder: BlockBuilder::new(self.segment.codec, BLOCK_BYTES),
            partition,
            run: self.run,
            records: 0,
            data_bytes: 0,
            largest_bytes: 0,
            extents: Vec::new(),
        }
    }
}

/// Writes the pairs of one partition of a run.
pub struct PartitionWriter<'a> {
    segment: &'a SegmentWriter,
    builder: BlockBuilder,
    partition: u32,
    run: u32,
    records: u64,
    /// Bytes of all pairs except the large ones, which have blocks of their own; and of the largest
    /// block.
    data_bytes: u64,
    largest_bytes: u64,
    extents: Vec<Extent>,
}

impl PartitionWriter<'_> {
    /// Pairs so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes the remaining pairs and returns the index entry. `promised` is the audit of the pairs
    /// when they were collected: it is passed on, not computed anew, so that their final reader can
    /// tell whether they are the same.
    pub fn finish(mut self, promised: Audit) -> Result<PartitionIndex, FailureCause> {
        self.write_all()?;
        let Self { partition, run, records, data_bytes, largest_bytes, extents, .. } = self;
        if records != promised.records {
            return Err(FailureCause::Corrupt {
                file: self.segment.path().display().to_string(),
                offset: 0,
                message: format!("{records} of {} pairs were to be written", promised.records),
            });
        }
        let block_bytes = data_bytes.min(largest_bytes.max(BLOCK_BYTES as u64));
        Ok(PartitionIndex { partition, run, audit: promised, block_bytes, extents })
    }

    /// Writes a block of this pair alone, without a copy of it.
    #[cold]
    fn push_large(&mut self, record: RecordRef<'_>) -> Result<(), FailureCause> {
        self.write_all()?;
        let head = block_head(record)?;
        let extent = self.segment.append_all(&[&head, record.key, record.value])?;
        self.extents.push(extent);
        self.records += 1;
        Ok(())
    }

    #[cold]
    fn finish_block(&mut self) -> Result<(), FailureCause> {
        self.builder.finish();
        if self.builder.finished().len() < EXTENT_BYTES { Ok(()) } else { self.write_finished() }
    }

    fn write_all(&mut self) -> Result<(), FailureCause> {
        if !self.builder.is_empty() {
            self.builder.finish();
        }
        if self.builder.finished().is_empty() { Ok(()) } else { self.write_finished() }
    }

    fn write_finished(&mut self) -> Result<(), FailureCause> {
        self.extents.push(self.segment.append(self.builder.finished())?);
        self.builder.clear();
        Ok(())
    }
}

impl RecordSink for PartitionWriter<'_> {
    #[inline]
    fn push(&mut self, record: RecordRef<'_>) -> Result<(), FailureCause> {
        let bytes = (record.key.len() + record.value.len()) as u64;
        if bytes > LARGE_EXTENT_BYTES {
            return self.push_large(record);
        }
        self.data_bytes += bytes;
        self.largest_bytes = self.largest_bytes.max(bytes);
        while !self.builder.push(record)? {
            self.finish_block()?;
        }
        self.records += 1;
        Ok(())
    }
}
