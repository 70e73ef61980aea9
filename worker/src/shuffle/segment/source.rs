//! Reads the pairs of one partition of one run. Everything in the file is verified before it is
//! used.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use windrow_jobs::{Audit, FailureCause};

use super::punch::punch_hole;
use super::reader::{corrupt, drop_cache, unreadable};
use super::writer::LARGE_EXTENT_BYTES;
use super::{Extent, FILE_HEADER_BYTES, PartitionIndex};
use crate::files::TemporaryFile;
use crate::shuffle::block::{Block, BlockError, HEADER_BYTES, Header};
use crate::shuffle::source::{
    BLOCK_BYTES, BlockPlace, BlockSource, Position, behind, source_bytes,
};

/// One partition of one run of a segment, block by block. The file is opened at the first read and
/// closed after the last, so that many sources can wait for a merge with few open files.
///
/// Each read takes one block, and the header of the next one: so every size is known beforehand,
/// and a buffer with a single block can be handed over without a copy.
pub struct SegmentSource {
    path: Arc<Path>,
    file: Option<File>,
    promised: Audit,
    /// Most bytes of keys and values in a block, except for blocks of single large pairs.
    block_bytes: u64,
    /// Number of pairs that are still to be read.
    records_left: u64,
    /// Extents that are still to be read, the next one last; and how many came before.
    extents: Vec<Extent>,
    extents_begun: usize,
    /// Offset of the first byte of the file that has not been read.
    offset: u64,
    /// The extent that is being read.
    extent: Extent,
    /// Its first `ahead_bytes` bytes have been read and not been taken; the other bytes have no
    /// meaning.
    buffer: Vec<u8>,
    ahead_bytes: usize,
    /// The last block that was read, and how many pairs at its start had been used before.
    block: Option<BlockPlace>,
    block_skipped: u64,
    /// The position at which to begin.
    sought: Position,
    /// Pairs before that position which are still to be skipped.
    skip: u64,
    /// No other source reads these pairs of a temporary file.
    temporary: Option<Arc<TemporaryFile>>,
}

impl BlockSource for SegmentSource {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        block.clear();
        if self.is_last() {
            return if self.records_left == 0 {
                Ok(false)
            } else {
                Err(self.miscounted(self.end()))
            };
        }
        self.begin_extent();
        let start = self.offset - self.ahead_bytes as u64;
        let place = BlockPlace {
            extent: self.extents_begun,
            offset: start,
            records: self.promised.records - self.records_left,
        };
        if let Err(cause) = self.read_block(start, block) {
            tracing::warn!(%cause, "reading a block once more");
            self.go_back(start);
            self.read_block(start, block)?;
        }
        self.block = Some(place);
        self.block_skipped = self.skip.min(block.len() as u64);
        self.skip -= self.block_skipped;
        block.skip(self.block_skipped as usize);
        if self.is_last() {
            (self.file, self.buffer) = (None, Vec::new());
        }
        Ok(true)
    }

    fn keeps_file_open(&self) -> bool {
        // The file of a single block is closed again when that has been read.
        self.block_bytes >= BLOCK_BYTES as u64 || self.extents.len() > 1
    }

    fn position(&self, used: usize) -> Option<Position> {
        let Some(block) = self.block else { return Some(self.sought) };
        let records = block.records + self.block_skipped + used as u64;
        Some(Position { records, block: Some(block) })
    }

    fn seek(&mut self, position: &Position) {
        debug_assert!(self.block.is_none(), "pairs that have been handed out cannot be skipped");
        (self.sought, self.skip) = (*position, position.records);
        if let Some(place) = position.block {
            self.begin_at(place);
        }
    }

    fn memory_bytes(&self) -> u64 {
        let extents = self.extents.iter().map(|extent| extent.bytes);
        // A block of a single pair, which is not compressed.
        let large = extents.filter(|bytes| *bytes > LARGE_EXTENT_BYTES).max().unwrap_or(0);
        large.max(source_bytes(self.promised.records, self.block_bytes))
    }

    fn is_last(&self) -> bool {
        self.extents.is_empty() && self.is_extent_done()
    }

    fn promised(&self) -> Audit {
        behind(self.promised, self.sought.records)
    }

    fn blame(&self, message: String) -> FailureCause {
        corrupt(&self.path, FILE_HEADER_BYTES as u64, message)
    }
}

impl SegmentSource {
    /// The pairs of an index entry of the file at `path`; a temporary file stays as long as this
    /// source.
    pub(super) fn new(
        path: Arc<Path>,
        entry: PartitionIndex,
        temporary: Option<Arc<TemporaryFile>>,
    ) -> Self {
        let PartitionIndex { audit, block_bytes, mut extents, .. } = entry;
        extents.reverse();
        Self {
            path,
            file: None,
            promised: audit,
            block_bytes,
            records_left: audit.records,
            extents,
            extents_begun: 0,
            offset: 0,
            extent: Extent { offset: 0, bytes: 0 },
            buffer: Vec::new(),
            ahead_bytes: 0,
            block: None,
            block_skipped: 0,
            sought: Position::default(),
            skip: 0,
            temporary,
        }
    }

    fn is_extent_done(&self) -> bool {
        self.offset == self.end() && self.ahead_bytes == 0
    }

    fn end(&self) -> u64 {
        self.extent.offset + self.extent.bytes
    }

    fn begin_extent(&mut self) {
        if self.is_extent_done() && !self.extents.is_empty() {
            // Not earlier: until now, a reader could have resumed in its last block.
            self.leave_extent();
            self.pop_extent();
        }
    }

    fn pop_extent(&mut self) {
        if let Some(extent) = self.extents.pop() {
            self.extents_begun += 1;
            self.offset = extent.offset;
            self.extent = extent;
        }
    }

    /// Begins with this block, and skips the pairs before it unread. If there is no such block,
    /// everything is read from the start.
    fn begin_at(&mut self, BlockPlace { extent, offset, records }: BlockPlace) {
        let before = self.extents.len().checked_sub(extent);
        let is_there = before
            .and_then(|at| self.extents.get(at))
            .is_some_and(|found| found.offset <= offset && offset < found.offset + found.bytes);
        let left = self.promised.records.checked_sub(records);
        if let (true, Some(left), Some(skip)) = (is_there, left, self.skip.checked_sub(records)) {
            (0..extent).for_each(|_| self.pop_extent());
            (self.offset, self.records_left, self.skip) = (offset, left, skip);
        }
    }

    /// Punches out the extent of a temporary file that has been read: mostly, this makes room for
    /// the file to which it is being written.
    fn leave_extent(&self) {
        if let (Some(file), Some(_)) = (&self.file, &self.temporary)
            && let Err(error) = punch_hole(file, self.extent)
        {
            tracing::debug!(path = %self.path.display(), %error, "cannot free the disk space of pairs");
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

    /// Drops the bytes read from `start` on, since they are wrong. The next read comes from the
    /// disk, as far as the system takes the advice; a fault that was only in its cache is gone
    /// then.
    fn go_back(&mut self, start: u64) {
        if let Some(file) = self.file.take() {
            drop_cache(&file);
        }
        (self.offset, self.ahead_bytes) = (start, 0);
    }

    /// Reads until the first `bytes` bytes of a block that starts at `start` are in the buffer, and
    /// the bytes of another header if the extent has them.
    fn fill(&mut self, bytes: usize, start: u64) -> Result<(), FailureCause> {
        if self.ahead_bytes >= bytes {
            return Ok(());
        }
        let rest = usize::try_from(self.end() - self.offset).unwrap_or(usize::MAX);
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
                let is_temporary = self.temporary.is_some();
                let opened = File::options().read(true).write(is_temporary).open(&self.path);
                closed.insert(opened.map_err(|error| unreadable(&self.path, &error))?)
            }
        };
        file.read_exact_at(&mut self.buffer[self.ahead_bytes..wanted], self.offset).map_err(
            |error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    let start = self.offset - self.ahead_bytes as u64;
                    corrupt(&self.path, start, "the file is cut short")
                } else {
                    unreadable(&self.path, &error)
                }
            },
        )?;
        self.offset += (wanted - self.ahead_bytes) as u64;
        self.ahead_bytes = wanted;
        Ok(())
    }

    /// Leaves a block of `block_bytes` bytes alone in the buffer, and returns the bytes read beyond
    /// it.
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

    /// Counts pairs: there must be as many as the index says.
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
        corrupt(&self.path, offset, "the number of pairs differs from the index")
    }

    fn corrupt(&self, block: u64, error: &BlockError) -> FailureCause {
        corrupt(&self.path, block, error.to_string())
    }
}
