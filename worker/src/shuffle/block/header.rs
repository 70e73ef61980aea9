//! The header of a block, which is checked before anything is decompressed.

use std::cmp::Ordering;

use windrow_jobs::checksum::{Crc64, crc64};

use super::codec::Method;
use super::layout::Layout;
use super::{BlockError, DATA_BYTES_MAX, PACKED_RAW_BYTES_MAX, RAW_BYTES_MAX};

/// Size of the header that precedes the stored bytes.
pub const HEADER_BYTES: usize = 28;

/// Bytes that the checksum does not cover: its own.
const CHECKSUM_BYTES: usize = 8;

/// The header fields that the decoder needs before it has the rest of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    crc64: u64,
    stored_bytes: u32,
    raw_bytes: u32,
    records: u32,
    data_bytes: u32,
    method: Method,
    layout: Layout,
}

impl Header {
    /// Reads a header from the start of `bytes`. It is not verified before [`check`](Self::check).
    pub fn read(bytes: &[u8]) -> Result<Self, BlockError> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(BlockError::Short)?;
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (Some(method), Some(layout), [0, 0]) =
            (Method::of(header[24]), Layout::of(header[25]), &header[26..])
        else {
            return Err(BlockError::Header);
        };
        let this = Self {
            crc64: u64::from(number(0)) | u64::from(number(4)) << 32,
            stored_bytes: number(8),
            raw_bytes: number(12),
            records: number(16),
            data_bytes: number(20),
            method,
            layout,
        };
        if this.is_plausible() { Ok(this) } else { Err(BlockError::Header) }
    }

    /// Reads the header of a block that fills `bytes`, and verifies the checksum.
    pub fn check(bytes: &[u8]) -> Result<Self, BlockError> {
        let this = Self::read(bytes)?;
        match bytes.len().cmp(&this.block_bytes()) {
            Ordering::Less => return Err(BlockError::Short),
            Ordering::Equal => {}
            Ordering::Greater => return Err(BlockError::Long),
        }
        if crc64(&bytes[CHECKSUM_BYTES..]) != this.crc64 {
            return Err(BlockError::Checksum);
        }
        Ok(this)
    }

    /// Bounds the decoder's allocations by the size of the block.
    fn is_plausible(&self) -> bool {
        let [stored, raw, data] =
            [self.stored_bytes, self.raw_bytes, self.data_bytes].map(|bytes| bytes as usize);
        // Only a pair in a block of its own may be large. Each pair takes at least two bytes, and
        // its lengths at most twenty.
        let records = self.records as usize;
        let is_small = records <= DATA_BYTES_MAX / 2 && raw <= DATA_BYTES_MAX + 20 * records;
        let raw_max = if self.is_compressed() { PACKED_RAW_BYTES_MAX } else { RAW_BYTES_MAX };
        raw <= raw_max
            && (records <= 1 || is_small)
            && records <= raw / 2
            && data <= raw.max(DATA_BYTES_MAX)
            && self.method.can_give(stored, raw)
    }

    /// Size of the whole block, header included.
    pub fn block_bytes(&self) -> usize {
        HEADER_BYTES + self.stored_bytes as usize
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.method != Method::Plain
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn records(&self) -> usize {
        self.records as usize
    }

    pub(super) fn data_bytes(&self) -> usize {
        self.data_bytes as usize
    }

    /// Decompresses into `raw`. An error if the size is not as announced.
    pub(super) fn decompress(&self, stored: &[u8], raw: &mut Vec<u8>) -> Result<(), BlockError> {
        let raw_bytes = self.raw_bytes as usize;
        self.method.decompress(stored, raw_bytes, raw).ok_or(BlockError::Compression)
    }
}

/// What a builder knows of its block.
pub(super) struct Contents {
    pub raw_bytes: usize,
    pub records: u32,
    pub data_bytes: usize,
    pub method: Method,
    pub layout: Layout,
}

/// Fills in the header of `block`, whose other bytes are in place.
pub(super) fn seal(block: &mut [u8], contents: &Contents) {
    seal_head(block, &[], contents);
}

/// Fills in the header of a block whose first bytes are in `head`, and whose other bytes are in
/// `rest`.
pub(super) fn seal_head(head: &mut [u8], rest: &[&[u8]], contents: &Contents) {
    let rest_bytes: usize = rest.iter().map(|piece| piece.len()).sum();
    let numbers = [
        (head.len() - HEADER_BYTES + rest_bytes) as u32,
        contents.raw_bytes as u32,
        contents.records,
        contents.data_bytes as u32,
    ];
    for (field, number) in head[CHECKSUM_BYTES..].chunks_exact_mut(4).zip(numbers) {
        field.copy_from_slice(&number.to_le_bytes());
    }
    head[24..HEADER_BYTES].copy_from_slice(&[contents.method as u8, contents.layout as u8, 0, 0]);
    if rest.is_empty() {
        return reseal(head);
    }
    let mut checksum = Crc64::new();
    checksum.update(&head[CHECKSUM_BYTES..]);
    rest.iter().for_each(|piece| checksum.update(piece));
    head[..CHECKSUM_BYTES].copy_from_slice(&checksum.finish().to_le_bytes());
}

/// Fills in the right checksum of `block`.
pub(crate) fn reseal(block: &mut [u8]) {
    let crc64 = crc64(&block[CHECKSUM_BYTES..]);
    block[..CHECKSUM_BYTES].copy_from_slice(&crc64.to_le_bytes());
}
