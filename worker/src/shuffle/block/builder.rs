//! Makes blocks of pairs.

use windrow_jobs::program::RecordRef;
use windrow_jobs::{FailureCause, Place, varint};

use super::adaptive::Adaptive;
use super::codec::{Codec, Compressor, Method};
use super::header::{Contents, HEADER_BYTES, seal, seal_head};
use super::layout::{Layout, common_prefix, push_shared, push_whole};
use super::{DATA_BYTES_MAX, KEPT_BYTES_MAX, RAW_BYTES_MAX};

/// Room for the lengths of a pair.
const LENGTHS_BYTES: usize = 20;

/// Pairs of a full block have this many bytes on average, or more: what finds them in memory is small beside them.
const PAIR_BYTES_MIN: usize = 24;

/// Shared prefixes that save less than one part in this many do not pay: decoding them takes a copy.
const SAVING_PARTS: usize = 4;

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

/// What comes before the key and the value of a pair that has an uncompressed block to itself: header and lengths.
pub fn block_head(record: RecordRef<'_>) -> Result<Vec<u8>, FailureCause> {
    pair_bytes(record)?;
    let RecordRef { key, value } = record;
    let mut head = vec![0; HEADER_BYTES];
    varint::write(key.len() as u64, &mut head);
    varint::write(value.len() as u64, &mut head);
    let data_bytes = key.len() + value.len();
    let contents = Contents {
        raw_bytes: head.len() - HEADER_BYTES + data_bytes,
        records: 1,
        data_bytes,
        method: Method::Plain,
        layout: Layout::Whole,
    };
    seal_head(&mut head, &[key, value], &contents);
    Ok(head)
}

/// Gathers pairs and encodes them as blocks, one after the other. What the last blocks gained by shared prefixes and by
/// compression decides how the next one is made.
pub struct BlockBuilder {
    block_bytes: usize,
    /// Room for a header, and the pairs: uncompressed, the block itself.
    raw: Vec<u8>,
    records: u32,
    data_bytes: usize,
    layout: Layout,
    /// In layout 1, the last key.
    last_key: Vec<u8>,
    sharing: Adaptive,
    compressor: Compressor,
}

impl BlockBuilder {
    /// A builder of blocks whose pairs have about `block_bytes` bytes, at most [`DATA_BYTES_MAX`].
    pub fn new(codec: Codec, block_bytes: usize) -> Self {
        assert!(block_bytes <= DATA_BYTES_MAX, "foreign blocks are refused above this size");
        let mut this = Self {
            block_bytes,
            raw: Vec::new(),
            records: 0,
            data_bytes: 0,
            layout: Layout::Whole,
            last_key: Vec::new(),
            sharing: Adaptive::default(),
            compressor: Compressor::new(codec),
        };
        this.start();
        this
    }

    /// Appends a pair; `false`, and nothing is appended, if it belongs in the next block. An error if it is too large
    /// for any.
    #[inline]
    pub fn push(&mut self, record: RecordRef<'_>) -> Result<bool, FailureCause> {
        let is_full = self.data_bytes + pair_bytes(record)? > self.block_bytes
            || self.records as usize * PAIR_BYTES_MIN >= self.block_bytes;
        if is_full && self.records > 0 {
            return Ok(false);
        }
        match self.layout {
            Layout::Whole => push_whole(&mut self.raw, record),
            Layout::SharedPrefixes => {
                let shared = common_prefix(&self.last_key, record.key);
                push_shared(&mut self.raw, shared, record);
                self.last_key.truncate(shared);
                self.last_key.extend_from_slice(&record.key[shared..]);
            }
        }
        self.data_bytes += record.key.len() + record.value.len();
        self.records += 1;
        Ok(true)
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Appends the block to `out` and starts the next one.
    pub fn finish_into(&mut self, out: &mut Vec<u8>) {
        if !self.compress_into(out) {
            self.seal_raw();
            out.extend_from_slice(&self.raw);
        }
        if self.raw.capacity() > KEPT_BYTES_MAX {
            (self.raw, self.last_key) = (Vec::new(), Vec::new());
        }
        self.start();
    }

    /// The block; starts the next one. What is not compressed is not copied either.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut block = Vec::new();
        if !self.compress_into(&mut block) {
            self.seal_raw();
            let room = Vec::with_capacity(self.raw.capacity());
            block = std::mem::replace(&mut self.raw, room);
        }
        self.start();
        block
    }

    /// Appends the block to `out`, compressed; false, and nothing is appended, if that does not pay.
    fn compress_into(&mut self, out: &mut Vec<u8>) -> bool {
        if self.compressor.is_due() {
            let start = out.len();
            out.resize(start + HEADER_BYTES, 0);
            if let Some(method) = self.compressor.append(&self.raw[HEADER_BYTES..], out) {
                seal(&mut out[start..], &self.contents(method));
                return true;
            }
            out.truncate(start);
        }
        false
    }

    /// Makes `raw` the block.
    fn seal_raw(&mut self) {
        let contents = self.contents(Method::Plain);
        seal(&mut self.raw, &contents);
    }

    /// What the header says. Also learns whether shared prefixes have paid.
    fn contents(&mut self, method: Method) -> Contents {
        let raw_bytes = self.raw.len() - HEADER_BYTES;
        if self.layout == Layout::SharedPrefixes {
            // Without sharing, each pair would have one length less.
            let whole = self.data_bytes + 2 * self.records as usize;
            self.sharing.report(raw_bytes < whole - whole / SAVING_PARTS);
        }
        Contents {
            raw_bytes,
            records: self.records,
            data_bytes: self.data_bytes,
            method,
            layout: self.layout,
        }
    }

    fn start(&mut self) {
        self.raw.clear();
        self.raw.resize(HEADER_BYTES, 0);
        self.last_key.clear();
        self.records = 0;
        self.data_bytes = 0;
        self.layout = if self.sharing.is_due() { Layout::SharedPrefixes } else { Layout::Whole };
    }
}
