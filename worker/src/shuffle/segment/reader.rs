//! Reads segments. Everything in the file is checked before it is believed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm::Crc64Nvme, checksum};
use windrow_jobs::fan_in::SOURCE_BYTES;
use windrow_jobs::{Audit, FailureCause};

use super::release::Released;
use super::writer::LARGE_EXTENT_BYTES;
use super::{Extent, MAGIC, PartitionIndex, TRAILER_BYTES, index};
use crate::files::TemporaryFile;
use crate::shuffle::block::{Block, BlockError, HEADER_BYTES, Header};
use crate::shuffle::source::BlockSource;

/// A segment whose index has been read. No file is open.
pub struct Segment {
    path: Arc<Path>,
    index: Vec<PartitionIndex>,
    released: Released,
    /// Keeps a temporary segment for as long as it or its sources are needed.
    temporary: Option<Arc<TemporaryFile>>,
}

impl Segment {
    /// Reads the index of the segment at `path`, and checks it. What makes no sense is read once more.
    pub fn open(path: &Path) -> Result<Self, FailureCause> {
        let io = |error| FailureCause::io(path, &error);
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let index = read_index(&file, bytes).or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "an index is read once more");
            drop_cache(&file);
            read_index(&file, bytes)
        });
        let index = index.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => corrupt(path, bytes, error.to_string()),
            io::ErrorKind::UnexpectedEof => corrupt(path, bytes, "the file is cut short"),
            _ => io(error),
        })?;
        Ok(Self { path: path.into(), index, released: Released::default(), temporary: None })
    }

    /// A segment that has just been written with this index, and that goes when nobody reads it any more.
    pub fn temporary(file: TemporaryFile, mut index: Vec<PartitionIndex>) -> Self {
        index.retain(|entry| entry.audit.records > 0);
        index.sort_unstable_by_key(PartitionIndex::order);
        let path = file.path().into();
        Self { path, index, released: Released::default(), temporary: Some(Arc::new(file)) }
    }

    /// Where the pairs lie, sorted by partition and run.
    #[cfg(test)]
    pub fn index(&self) -> &[PartitionIndex] {
        &self.index
    }

    /// Number of entries of its index, which is what takes up memory.
    pub fn entries(&self) -> usize {
        self.index.len()
    }

    /// A source for each run that has pairs of `partition`.
    pub fn sources(&self, partition: u32) -> impl Iterator<Item = SegmentSource> {
        index::of_partition(&self.index, partition).iter().map(|entry| self.source(entry))
    }

    /// An error if the pairs of `partition` have been [released](Self::release).
    pub fn check_unreleased(&self, partition: u32) -> Result<(), FailureCause> {
        if !self.released.has(partition) {
            return Ok(());
        }
        let message =
            format!("the pairs of partition {partition} were deleted when its reducer was done");
        Err(corrupt(&self.path, MAGIC.len() as u64, message))
    }

    /// Gives the disk and the page cache back what the pairs of `partition` take up: nobody will read them again. Where the file
    /// system cannot do that, they stay until the file goes.
    pub fn release(&self, partition: u32) -> io::Result<()> {
        let entries = index::of_partition(&self.index, partition);
        let extents = entries.iter().flat_map(|entry| entry.extents.iter().copied());
        self.released.release(&self.path, partition, extents.collect())
    }

    fn source(&self, entry: &PartitionIndex) -> SegmentSource {
        SegmentSource {
            path: Arc::clone(&self.path),
            file: None,
            promised: entry.audit,
            records_left: entry.audit.records,
            extents: entry.extents.iter().rev().copied().collect(),
            offset: 0,
            end: 0,
            buffer: Vec::new(),
            ahead_bytes: 0,
            _temporary: self.temporary.clone(),
        }
    }
}

/// Lets the system forget what it keeps of the file in memory and has on disk.
fn drop_cache(file: &File) {
    // Advice: where it is not taken, the next read is of memory again.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

fn read_index(file: &File, file_bytes: u64) -> io::Result<Vec<PartitionIndex>> {
    let invalid = |message| io::Error::new(io::ErrorKind::InvalidData, message);
    let mut magic = [0; MAGIC.len()];
    let mut trailer = [0; TRAILER_BYTES];
    let trailer_offset = file_bytes
        .checked_sub(TRAILER_BYTES as u64)
        .filter(|offset| *offset >= MAGIC.len() as u64)
        .ok_or_else(|| invalid("the file is cut short"))?;
    file.read_exact_at(&mut magic, 0)?;
    file.read_exact_at(&mut trailer, trailer_offset)?;
    if magic != *MAGIC || trailer[16..] != *MAGIC {
        return Err(invalid("the file is cut short, or no segment of this version"));
    }
    let number = |at: usize| {
        trailer[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let index_offset = number(0);
    let index_bytes = trailer_offset
        .checked_sub(index_offset)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| invalid("the index lies outside the file"))?;
    let mut tail = vec![0; index_bytes + 8];
    file.read_exact_at(&mut tail, index_offset)?;
    if checksum(Crc64Nvme, &tail) != number(8) {
        return Err(invalid("the checksum of the index does not match"));
    }
    index::decode(&tail[..index_bytes], MAGIC.len() as u64..index_offset)
        .ok_or_else(|| invalid("the index makes no sense"))
}

fn corrupt(path: &Path, offset: u64, message: impl Into<String>) -> FailureCause {
    FailureCause::Corrupt { file: path.display().to_string(), offset, message: message.into() }
}

/// One partition of one run of a segment, block by block. The file is opened at the first read and closed after the
/// last, so that many sources can wait for a merge with few files open.
///
/// Each read takes one block, and the header of the next one: so every size is known beforehand, and a buffer that
/// holds a block and nothing else can be handed over as it is.
pub struct SegmentSource {
    path: Arc<Path>,
    file: Option<File>,
    promised: Audit,
    /// Pairs to come.
    records_left: u64,
    /// Those to come, the next one last.
    extents: Vec<Extent>,
    /// Of the first byte of the file that has not been read.
    offset: u64,
    /// Of the extent that is being read.
    end: u64,
    /// Its first `ahead_bytes` bytes have been read and not been taken; the others mean nothing.
    buffer: Vec<u8>,
    ahead_bytes: usize,
    _temporary: Option<Arc<TemporaryFile>>,
}

impl BlockSource for SegmentSource {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        block.clear();
        if self.is_last() {
            return if self.records_left == 0 { Ok(false) } else { Err(self.miscounted(self.end)) };
        }
        self.begin_extent();
        let start = self.offset - self.ahead_bytes as u64;
        if let Err(cause) = self.read_block(start, block) {
            tracing::warn!(%cause, "a block is read once more");
            self.go_back(start);
            self.read_block(start, block)?;
        }
        if self.is_last() {
            (self.file, self.buffer) = (None, Vec::new());
        }
        Ok(true)
    }

    fn memory_bytes(&self) -> u64 {
        let extents = self.extents.iter().map(|extent| extent.bytes);
        // All others have many blocks.
        extents.filter(|bytes| *bytes > LARGE_EXTENT_BYTES).max().unwrap_or(SOURCE_BYTES)
    }

    fn is_last(&self) -> bool {
        self.extents.is_empty() && self.is_extent_done()
    }

    fn promised(&self) -> Audit {
        self.promised
    }

    fn blame(&self, message: String) -> FailureCause {
        corrupt(&self.path, MAGIC.len() as u64, message)
    }
}

impl SegmentSource {
    fn is_extent_done(&self) -> bool {
        self.offset == self.end && self.ahead_bytes == 0
    }

    fn begin_extent(&mut self) {
        if self.is_extent_done()
            && let Some(extent) = self.extents.pop()
        {
            self.offset = extent.offset;
            self.end = extent.offset + extent.bytes;
        }
    }

    fn read_block(&mut self, start: u64, block: &mut Block) -> Result<(), FailureCause> {
        self.fill(HEADER_BYTES, start)?;
        let header = Header::read(&self.buffer).map_err(|error| self.corrupt(start, &error))?;
        self.fill(header.block_bytes(), start)?;
        let next = self.take_header_ahead(header.block_bytes());
        block.decode_buffer(&mut self.buffer).map_err(|error| self.corrupt(start, &error))?;
        self.put_header_ahead(next);
        self.count(block.len() as u64, start)
    }

    /// Forgets what has been read from `start` on: it was not what was written. The next read is of the disk, as far as
    /// the system can be told so; what is wrong in its cache only has passed then.
    fn go_back(&mut self, start: u64) {
        if let Some(file) = self.file.take() {
            drop_cache(&file);
        }
        (self.offset, self.ahead_bytes) = (start, 0);
    }

    /// Sees to it that the first `bytes` bytes of a block that starts at `start` are in the buffer, and a header's more
    /// if the extent has them.
    fn fill(&mut self, bytes: usize, start: u64) -> Result<(), FailureCause> {
        if self.ahead_bytes >= bytes {
            return Ok(());
        }
        let rest = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        if bytes - self.ahead_bytes > rest {
            return Err(self.corrupt(start, &BlockError::Short));
        }
        let wanted = self.ahead_bytes + rest.min(bytes + HEADER_BYTES - self.ahead_bytes);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        self.read(wanted)
    }

    fn read(&mut self, wanted: usize) -> Result<(), FailureCause> {
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let opened = File::open(&self.path);
                closed.insert(opened.map_err(|error| FailureCause::io(&self.path, &error))?)
            }
        };
        file.read_exact_at(&mut self.buffer[self.ahead_bytes..wanted], self.offset).map_err(
            |error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    let start = self.offset - self.ahead_bytes as u64;
                    corrupt(&self.path, start, "the file is cut short")
                } else {
                    FailureCause::io(&self.path, &error)
                }
            },
        )?;
        self.offset += (wanted - self.ahead_bytes) as u64;
        self.ahead_bytes = wanted;
        Ok(())
    }

    /// Leaves a block of `block_bytes` bytes alone in the buffer, and returns what was read beyond it.
    fn take_header_ahead(&mut self, block_bytes: usize) -> ([u8; HEADER_BYTES], usize) {
        let mut next = [0; HEADER_BYTES];
        let beyond = &self.buffer[block_bytes..self.ahead_bytes];
        let bytes = beyond.len();
        next[..bytes].copy_from_slice(beyond);
        self.buffer.truncate(block_bytes);
        (next, bytes)
    }

    fn put_header_ahead(&mut self, (next, bytes): ([u8; HEADER_BYTES], usize)) {
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        self.buffer[..bytes].copy_from_slice(&next[..bytes]);
        self.ahead_bytes = bytes;
    }

    /// Conserves pairs: as many must come as the index says.
    fn count(&mut self, records: u64, block: u64) -> Result<(), FailureCause> {
        match self.records_left.checked_sub(records) {
            Some(rest) if rest == 0 || !self.is_last() => {
                self.records_left = rest;
                Ok(())
            }
            _ => Err(self.miscounted(block)),
        }
    }

    fn miscounted(&self, offset: u64) -> FailureCause {
        corrupt(&self.path, offset, "the number of pairs is not that of the index")
    }

    fn corrupt(&self, block: u64, error: &BlockError) -> FailureCause {
        corrupt(&self.path, block, error.to_string())
    }
}
