//! Reads segments. Everything in the file is checked before it is believed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc_fast::{CrcAlgorithm::Crc64Nvme, checksum};
use windrow_jobs::FailureCause;

use super::{MAGIC, PartitionIndex, TRAILER_BYTES, index};
use crate::files::TemporaryFile;
use crate::shuffle::block::{Block, BlockError, HEADER_BYTES, Header};
use crate::shuffle::source::BlockSource;

/// Bytes read at once: more than a block of the usual size, so that most reads fetch several.
const READ_BYTES: usize = 64 << 10;

/// An open segment.
pub struct Segment {
    path: PathBuf,
    file: File,
    partitions: Vec<PartitionIndex>,
}

impl Segment {
    /// Opens a segment and checks its index.
    pub fn open(path: &Path) -> Result<Self, FailureCause> {
        let io = |error| FailureCause::io(path, &error);
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let partitions = read_index(&file, bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                corrupt(path, bytes, error.to_string())
            } else {
                io(error)
            }
        })?;
        Ok(Self { path: path.to_path_buf(), file, partitions })
    }

    /// The partitions that have pairs, in order of their numbers.
    #[cfg(test)]
    pub fn partitions(&self) -> &[PartitionIndex] {
        &self.partitions
    }

    fn read(mut self, partition: u32) -> PartitionReader {
        let found = self.partitions.binary_search_by_key(&partition, |index| index.partition);
        let index = found.map(|at| self.partitions.swap_remove(at));
        let empty = PartitionIndex { partition, records: 0, extents: Vec::new() };
        let mut index = index.unwrap_or(empty);
        index.extents.reverse();
        PartitionReader {
            path: self.path,
            file: self.file,
            index,
            offset: 0,
            end: 0,
            buffer: Vec::new(),
            consumed: 0,
        }
    }
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

/// One partition of a segment as a source. The file is opened at the first read and closed after the last, so
/// that many sources can wait for a merge with few files open.
pub struct SegmentSource {
    state: State,
    /// Keeps a temporary segment for as long as it is needed.
    _temporary: Option<Arc<TemporaryFile>>,
}

enum State {
    Closed { path: PathBuf, partition: u32 },
    Open(Box<PartitionReader>),
    Done,
}

impl SegmentSource {
    /// A partition of the segment at `path`.
    pub fn new(path: PathBuf, partition: u32) -> Self {
        Self { state: State::Closed { path, partition }, _temporary: None }
    }

    /// A partition of a segment that is removed when its last source is dropped.
    pub fn temporary(file: &Arc<TemporaryFile>, partition: u32) -> Self {
        Self {
            _temporary: Some(Arc::clone(file)),
            ..Self::new(file.path().to_path_buf(), partition)
        }
    }
}

impl BlockSource for SegmentSource {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        block.clear();
        if let State::Closed { path, partition } = &self.state {
            self.state = State::Open(Box::new(Segment::open(path)?.read(*partition)));
        }
        let State::Open(reader) = &mut self.state else { return Ok(false) };
        let found = reader.next_block(block)?;
        if reader.is_at_end() {
            self.state = State::Done;
        }
        Ok(found)
    }

    fn is_last(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

/// Walks the blocks of one partition. `index.extents` holds those to come, the next one last; `index.records`
/// the pairs to come.
struct PartitionReader {
    path: PathBuf,
    file: File,
    index: PartitionIndex,
    /// Of the first byte of the file that is not in `buffer`.
    offset: u64,
    /// Of the extent that is being read.
    end: u64,
    buffer: Vec<u8>,
    consumed: usize,
}

impl PartitionReader {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        if self.is_at_end() {
            return if self.index.records == 0 {
                Ok(false)
            } else {
                Err(self.miscounted(self.end))
            };
        }
        if self.is_extent_done()
            && let Some(extent) = self.index.extents.pop()
        {
            self.offset = extent.offset;
            self.end = extent.offset + extent.bytes;
        }
        let start = self.offset - self.buffered() as u64;
        self.fill(HEADER_BYTES, start)?;
        let header = Header::read(&self.buffer[self.consumed..])
            .map_err(|error| corrupt(&self.path, start, error.to_string()))?;
        self.fill(header.block_bytes(), start)?;
        let bytes = &self.buffer[self.consumed..self.consumed + header.block_bytes()];
        block.decode(bytes).map_err(|error| corrupt(&self.path, start, error.to_string()))?;
        self.consumed += header.block_bytes();
        self.count(block.len() as u64, start)?;
        Ok(true)
    }

    fn is_at_end(&self) -> bool {
        self.index.extents.is_empty() && self.is_extent_done()
    }

    fn is_extent_done(&self) -> bool {
        self.offset == self.end && self.buffered() == 0
    }

    fn buffered(&self) -> usize {
        self.buffer.len() - self.consumed
    }

    /// Sees to it that `bytes` bytes are buffered; the block starts at `block`.
    fn fill(&mut self, bytes: usize, block: u64) -> Result<(), FailureCause> {
        let have = self.buffered();
        if have >= bytes {
            return Ok(());
        }
        let rest = self.end - self.offset;
        if ((bytes - have) as u64) > rest {
            return Err(corrupt(&self.path, block, BlockError::Short.to_string()));
        }
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let wanted =
            (bytes.max(READ_BYTES) - have).min(usize::try_from(rest).unwrap_or(usize::MAX));
        self.buffer.resize(have + wanted, 0);
        self.file.read_exact_at(&mut self.buffer[have..], self.offset).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                corrupt(&self.path, block, "the file is cut short")
            } else {
                FailureCause::io(&self.path, &error)
            }
        })?;
        self.offset += wanted as u64;
        Ok(())
    }

    /// Conserves pairs: as many must come as the index says.
    fn count(&mut self, records: u64, block: u64) -> Result<(), FailureCause> {
        match self.index.records.checked_sub(records) {
            Some(rest) if rest == 0 || !self.is_at_end() => {
                self.index.records = rest;
                Ok(())
            }
            _ => Err(self.miscounted(block)),
        }
    }

    fn miscounted(&self, offset: u64) -> FailureCause {
        corrupt(&self.path, offset, "the number of pairs is not that of the index")
    }
}
