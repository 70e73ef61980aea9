//! Blocks: the unit in which sorted pairs are compressed, stored, checked and sent.
//!
//! ```text
//!  0        8         12        16        20     24      25       26      28
//!  | crc64  | stored  | raw     | records | data | codec | layout | zero  | stored bytes ...
//!           '----------------------- covered by the CRC-64/NVME ------------------------'
//! ```
//!
//! Numbers are little endian. `stored` bytes decompress to `raw` bytes; these encode `records`
//! pairs, whose keys and values together have `data` bytes. The module `layout` describes the
//! encoding.
//!
//! The decoder accepts any bytes: invalid ones are an error, never a panic, and never a large
//! allocation.

mod adaptive;
mod builder;
mod codec;
mod header;
mod layout;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use windrow_jobs::pairs::RecordRef;

pub use builder::{BlockBuilder, PAIR_BYTES_MIN, block_head};
pub use codec::Codec;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use header::reseal;
pub use header::{HEADER_BYTES, Header};

use self::layout::{Entry, Layout};
use super::pairs::SortedPairs;

/// Most raw bytes in a block, and so the largest pair that can be shuffled.
pub const RAW_BYTES_MAX: usize = 1 << 30;

/// Most bytes of keys and values in a block of several pairs. So a malicious block whose keys share
/// long prefixes cannot expand without limit.
pub const DATA_BYTES_MAX: usize = 1 << 20;

/// Most raw bytes of a compressed block; larger pairs are stored uncompressed. So few malicious
/// bytes cannot decompress to very many.
pub const PACKED_RAW_BYTES_MAX: usize = 5 << 20;

/// Most memory that a block keeps for the next one.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// Why bytes are not a block.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BlockError {
    /// Fewer bytes than the header announces.
    #[error("the block is cut short")]
    Short,
    /// More bytes than the header announces.
    #[error("the block is followed by other bytes")]
    Long,
    /// The bytes are not the written ones.
    #[error("the checksum does not match")]
    Checksum,
    /// This version writes no such header.
    #[error("the block's header is malformed")]
    Header,
    /// The stored bytes do not decompress to the raw bytes.
    #[error("the block cannot be decompressed")]
    Compression,
    /// The raw bytes are not pairs.
    #[error("the block's pairs are malformed")]
    Pairs,
}

/// Pairs in memory, each found in O(1): decoded pairs, which the block owns, or some pairs of a
/// buffer, which it shares.
#[derive(Default)]
pub struct Block {
    data: Vec<u8>,
    /// Used in place of `data` unless it is empty: bytes that are partly owned by others.
    received: Bytes,
    entries: Vec<Entry>,
    /// Buffer for decompressed bytes with shared prefixes, before they are expanded into `data`.
    raw: Vec<u8>,
    lent: Option<Lent>,
}

/// Pairs that lie elsewhere.
struct Lent {
    pairs: Arc<dyn SortedPairs>,
    partition: u32,
    range: Range<usize>,
}

impl Block {
    /// Decodes `buffer`, which must be exactly one block. After an error, this block is empty. May
    /// take the buffer's memory and leave other memory there, with any bytes: data that needs no
    /// unpacking is not copied.
    pub fn decode_buffer(&mut self, buffer: &mut Vec<u8>) -> Result<(), BlockError> {
        self.clear();
        let header = Header::check(buffer)?;
        if header.is_compressed() || header.layout() != Layout::Whole {
            return self.unpack(&header, &buffer[HEADER_BYTES..]);
        }
        std::mem::swap(&mut self.data, buffer);
        let indexed = layout::index(&self.data, HEADER_BYTES, &header, &mut self.entries);
        self.accept(indexed)
    }

    /// Like [`decode_buffer`](Self::decode_buffer), but may keep `bytes`.
    pub fn decode_bytes(&mut self, bytes: Bytes) -> Result<(), BlockError> {
        self.clear();
        let header = Header::check(&bytes)?;
        if header.is_compressed() || header.layout() != Layout::Whole {
            return self.unpack(&header, &bytes[HEADER_BYTES..]);
        }
        self.received = bytes;
        let indexed = layout::index(&self.received, HEADER_BYTES, &header, &mut self.entries);
        self.accept(indexed)
    }

    /// Decodes a block that is compressed, or shares prefixes.
    fn unpack(&mut self, header: &Header, stored: &[u8]) -> Result<(), BlockError> {
        let unpacked = match (header.layout(), header.is_compressed()) {
            (Layout::Whole, _) => {
                header.decompress(stored, &mut self.data)?;
                layout::index(&self.data, 0, header, &mut self.entries)
            }
            (Layout::SharedPrefixes, false) => {
                layout::expand(stored, header, &mut self.data, &mut self.entries)
            }
            (Layout::SharedPrefixes, true) => {
                header.decompress(stored, &mut self.raw)?;
                layout::expand(&self.raw, header, &mut self.data, &mut self.entries)
            }
        };
        self.accept(unpacked)
    }

    fn accept(&mut self, pairs: Option<()>) -> Result<(), BlockError> {
        if pairs.is_none() {
            self.clear();
        }
        pairs.ok_or(BlockError::Pairs)
    }

    /// Makes this block the pairs of `partition` in `range`, without copying them.
    pub fn lend(&mut self, pairs: Arc<dyn SortedPairs>, partition: u32, range: Range<usize>) {
        self.clear();
        self.lent = Some(Lent { pairs, partition, range });
    }

    #[inline]
    fn data(&self) -> &[u8] {
        if self.received.is_empty() { &self.data } else { &self.received }
    }

    /// The pair at `index`, which is below [`len`](Self::len).
    #[inline]
    pub fn record(&self, index: usize) -> RecordRef<'_> {
        match &self.lent {
            None => self.entries[index].record(self.data()),
            Some(lent) => lent.pairs.get(lent.partition, lent.range.start + index),
        }
    }

    /// Appends the pairs at `indices` to `records`.
    pub fn read<'a>(&'a self, indices: Range<usize>, records: &mut Vec<RecordRef<'a>>) {
        match &self.lent {
            None => {
                let (entries, data) = (self.entries[indices].iter(), self.data());
                records.extend(entries.map(|entry| entry.record(data)));
            }
            Some(lent) => {
                let start = lent.range.start;
                let indices = start + indices.start..start + indices.end;
                lent.pairs.read(lent.partition, indices, records);
            }
        }
    }

    /// Drops the first `count` pairs of a decoded block.
    pub fn skip(&mut self, count: usize) {
        debug_assert!(self.lent.is_none(), "lent pairs are not skipped");
        self.entries.drain(..count);
    }

    /// Number of pairs.
    #[inline]
    pub fn len(&self) -> usize {
        self.lent.as_ref().map_or(self.entries.len(), |lent| lent.range.len())
    }

    /// Appends a copy of a pair.
    #[cfg(test)]
    pub fn push(&mut self, record: RecordRef<'_>) {
        self.entries.push(Entry::append(&mut self.data, record));
    }

    /// Removes all pairs and keeps the memory, except that of large pairs.
    pub fn clear(&mut self) {
        if self.data.capacity() > KEPT_BYTES_MAX {
            self.data = Vec::new();
        }
        // Without entries, `data` is unreachable; it keeps its length so that it need not be zeroed
        // for the next read.
        self.entries.clear();
        self.received = Bytes::new();
        self.lent = None;
    }
}
