//! Blocks: the unit in which sorted pairs are compressed, stored, checked and sent.
//!
//! ```text
//!  0        8         12        16        20      21       22      24
//!  | crc64  | stored  | raw     | records | codec | layout | zero  | stored bytes ...
//!           '------------------- covered by the CRC-64/NVME -----------------------'
//! ```
//!
//! Numbers are little endian. In layout 0 the raw bytes are, for each pair, `key_len value_len key value` with
//! lengths as LEB128 varints. Another layout number is how shared key prefixes can come in later.
//!
//! The decoder takes any bytes: foreign ones are an error, never a panic, and never a large allocation.

use crc_fast::{CrcAlgorithm::Crc64Nvme, checksum};
use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use windrow_jobs::program::RecordRef;
use windrow_jobs::{FailureCause, Place};

use super::varint;

/// Size of the header that precedes the stored bytes.
pub const HEADER_BYTES: usize = 24;

/// Most raw bytes in a block, and so the largest pair that can be shuffled.
pub const RAW_BYTES_MAX: usize = 1 << 30;

/// Room for the two lengths of a pair.
const LENGTHS_BYTES: usize = 20;

const STORED: u8 = 0;
const LZ4: u8 = 1;
const LAYOUT: u8 = 0;

/// Why bytes are not a block.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BlockError {
    /// Fewer bytes than the header announces.
    #[error("the block is cut short")]
    Short,
    /// More bytes than the header announces.
    #[error("the block is followed by other bytes")]
    Long,
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// A header that this version does not write.
    #[error("the block's header makes no sense")]
    Header,
    /// The stored bytes do not give the raw bytes.
    #[error("the block cannot be decompressed")]
    Compression,
    /// The raw bytes are not pairs.
    #[error("the block's pairs make no sense")]
    Pairs,
}

/// Most bytes that a pair takes up in a block, its lengths included. An error if that is more than a block holds.
#[inline]
pub fn pair_bytes(record: RecordRef<'_>) -> Result<usize, FailureCause> {
    let bytes = record.key.len().saturating_add(record.value.len()).saturating_add(LENGTHS_BYTES);
    if bytes <= RAW_BYTES_MAX { Ok(bytes) } else { Err(too_large(bytes)) }
}

#[cold]
fn too_large(bytes: usize) -> FailureCause {
    FailureCause::UserError {
        place: Place::default(),
        message: format!(
            "a pair of {bytes} bytes was emitted; the largest that can be shuffled has {RAW_BYTES_MAX}"
        ),
    }
}

/// The header, as far as the decoder needs it before it has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    crc64: u64,
    stored_bytes: u32,
    raw_bytes: u32,
    /// Number of pairs.
    pub records: u32,
    codec: u8,
}

impl Header {
    /// Reads a header from the start of `bytes`. Nothing in it can be believed before [`Block::decode`].
    pub fn read(bytes: &[u8]) -> Result<Self, BlockError> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(BlockError::Short)?;
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let this = Self {
            crc64: u64::from(number(0)) | u64::from(number(4)) << 32,
            stored_bytes: number(8),
            raw_bytes: number(12),
            records: number(16),
            codec: header[20],
        };
        let plausible = match this.codec {
            STORED => this.raw_bytes == this.stored_bytes,
            // One byte of LZ4 stands for at most 255 bytes.
            LZ4 => this.raw_bytes as usize <= (this.stored_bytes as usize).saturating_mul(255),
            _ => false,
        };
        let known = header[21] == LAYOUT && header[22..] == [0, 0];
        // Each pair takes two bytes at least, which bounds the decoder's table of entries.
        let bounded =
            this.raw_bytes as usize <= RAW_BYTES_MAX && this.records <= this.raw_bytes / 2;
        if plausible && known && bounded { Ok(this) } else { Err(BlockError::Header) }
    }

    /// Size of the whole block, header included.
    pub fn block_bytes(&self) -> usize {
        HEADER_BYTES + self.stored_bytes as usize
    }
}

/// Gathers pairs and encodes them as a block.
#[derive(Default)]
pub struct BlockBuilder {
    raw: Vec<u8>,
    records: u32,
    table: CompressTable,
}

impl BlockBuilder {
    /// Appends a pair. The caller keeps [`raw_bytes`](Self::raw_bytes) within [`RAW_BYTES_MAX`].
    #[inline]
    pub fn push(&mut self, record: RecordRef<'_>) {
        varint::write(&mut self.raw, record.key.len() as u64);
        varint::write(&mut self.raw, record.value.len() as u64);
        self.raw.extend_from_slice(record.key);
        self.raw.extend_from_slice(record.value);
        self.records += 1;
    }

    /// Bytes of the pairs so far, encoded but not compressed.
    #[inline]
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Appends the block to `out` and starts the next one. Pairs that do not shrink are stored as they are.
    pub fn finish_into(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        let payload = start + HEADER_BYTES;
        out.resize(payload + get_maximum_output_size(self.raw.len()), 0);
        let compressed = compress_into_with_table(&self.raw, &mut out[payload..], &mut self.table);
        let codec = match compressed {
            Ok(stored) if stored < self.raw.len() => {
                out.truncate(payload + stored);
                LZ4
            }
            _ => {
                out.truncate(payload);
                out.extend_from_slice(&self.raw);
                STORED
            }
        };
        let stored_bytes = (out.len() - payload) as u32;
        let header = &mut out[start..payload];
        header[8..12].copy_from_slice(&stored_bytes.to_le_bytes());
        header[12..16].copy_from_slice(&(self.raw.len() as u32).to_le_bytes());
        header[16..20].copy_from_slice(&self.records.to_le_bytes());
        header[20..24].copy_from_slice(&[codec, LAYOUT, 0, 0]);
        let crc64 = checksum(Crc64Nvme, &out[start + 8..]);
        out[start..start + 8].copy_from_slice(&crc64.to_le_bytes());
        self.raw.clear();
        self.records = 0;
    }
}

/// Pairs in memory, each found in O(1).
#[derive(Default)]
pub struct Block {
    data: Vec<u8>,
    entries: Vec<Entry>,
}

/// Where one pair lies in a block's data; the value follows the key.
#[derive(Clone, Copy)]
struct Entry {
    key: u32,
    value: u32,
    end: u32,
}

impl Block {
    /// Makes this block the one that `bytes` encodes, all of them. After an error it is empty.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.clear();
        let header = Header::read(bytes)?;
        match bytes.len().cmp(&header.block_bytes()) {
            std::cmp::Ordering::Less => return Err(BlockError::Short),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => return Err(BlockError::Long),
        }
        if checksum(Crc64Nvme, &bytes[8..]) != header.crc64 {
            return Err(BlockError::Checksum);
        }
        let decoded = self.unpack(&header, &bytes[HEADER_BYTES..]);
        if decoded.is_err() {
            self.clear();
        }
        decoded
    }

    fn unpack(&mut self, header: &Header, stored: &[u8]) -> Result<(), BlockError> {
        if header.codec == STORED {
            self.data.extend_from_slice(stored);
        } else {
            self.data.resize(header.raw_bytes as usize, 0);
            match decompress_into(stored, &mut self.data) {
                Ok(bytes) if bytes == self.data.len() => {}
                _ => return Err(BlockError::Compression),
            }
        }
        self.entries.reserve(header.records as usize);
        let mut at = 0;
        for _ in 0..header.records {
            let entry = Entry::read(&self.data, at).ok_or(BlockError::Pairs)?;
            at = entry.end as usize;
            self.entries.push(entry);
        }
        if at == self.data.len() { Ok(()) } else { Err(BlockError::Pairs) }
    }

    /// Appends a copy of a pair. The caller keeps the data within [`RAW_BYTES_MAX`].
    pub fn push(&mut self, record: RecordRef<'_>) {
        let key = self.data.len() as u32;
        self.data.extend_from_slice(record.key);
        let value = self.data.len() as u32;
        self.data.extend_from_slice(record.value);
        self.entries.push(Entry { key, value, end: self.data.len() as u32 });
    }

    /// The pair at `index`, which is below [`len`](Self::len).
    #[inline]
    pub fn record(&self, index: usize) -> RecordRef<'_> {
        let Entry { key, value, end } = self.entries[index];
        RecordRef {
            key: &self.data[key as usize..value as usize],
            value: &self.data[value as usize..end as usize],
        }
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Size of the pairs.
    pub fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// Removes all pairs and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.entries.clear();
    }
}

impl Entry {
    fn read(data: &[u8], at: usize) -> Option<Self> {
        let mut rest = data.get(at..)?;
        let key_bytes = usize::try_from(varint::read(&mut rest)?).ok()?;
        let value_bytes = usize::try_from(varint::read(&mut rest)?).ok()?;
        let key = data.len() - rest.len();
        let value = key.checked_add(key_bytes)?;
        let end = value.checked_add(value_bytes).filter(|end| *end <= data.len())?;
        // All fit: the data is at most `RAW_BYTES_MAX`.
        Some(Self { key: key as u32, value: value as u32, end: end as u32 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    fn encode(pairs: &Pairs) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for (key, value) in pairs {
            builder.push(RecordRef { key, value });
        }
        let mut bytes = Vec::new();
        builder.finish_into(&mut bytes);
        assert!(builder.is_empty());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Pairs, BlockError> {
        let mut block = Block::default();
        block.decode(bytes)?;
        Ok((0..block.len())
            .map(|index| block.record(index))
            .map(|record| (record.key.to_vec(), record.value.to_vec()))
            .collect())
    }

    /// Gives foreign bytes a checksum that holds, so that the checks behind it are reached.
    fn seal(bytes: &mut [u8]) {
        let crc64 = checksum(Crc64Nvme, &bytes[8..]);
        bytes[..8].copy_from_slice(&crc64.to_le_bytes());
    }

    fn pairs() -> impl Strategy<Value = Pairs> {
        vec((vec(0u8..4, 0..40), vec(any::<u8>(), 0..40)), 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_was_pushed_is_decoded(pairs in pairs()) {
            let bytes = encode(&pairs);
            prop_assert_eq!(Header::read(&bytes)?.block_bytes(), bytes.len());
            prop_assert_eq!(decode(&bytes)?, pairs);
        }

        #[test]
        fn foreign_bytes_never_panic(mut bytes in vec(any::<u8>(), 24..200), codec in 0u8..2) {
            let stored = (bytes.len() - HEADER_BYTES) as u32;
            bytes[8..12].copy_from_slice(&stored.to_le_bytes());
            if codec == STORED {
                bytes[12..16].copy_from_slice(&stored.to_le_bytes());
            } else {
                bytes[14..16].fill(0);
            }
            bytes[17..20].fill(0);
            bytes[20..24].copy_from_slice(&[codec, 0, 0, 0]);
            seal(&mut bytes);
            // Decoding may succeed; then the pairs must be within bounds, which `record` asserts.
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let pairs = (0..50u8).map(|n| (vec![n; 3], vec![n, 1])).collect();
        let bytes = encode(&pairs);
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&broken).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), Err(BlockError::Short), "cut at {len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(&longer), Err(BlockError::Long));
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused_before_anything_is_allocated() {
        let mut bytes = encode(&vec![(b"key".to_vec(), b"value".to_vec())]);
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        seal(&mut bytes);
        assert_eq!(decode(&bytes), Err(BlockError::Header));
    }
}
