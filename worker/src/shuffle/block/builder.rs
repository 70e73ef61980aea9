//! Builds blocks of pairs.

use windrow_jobs::pairs::RecordRef;
use windrow_jobs::{FailureCause, RecordPlace, varint};

use super::adaptive::Adaptive;
use super::codec::{Codec, Compressor, Method};
use super::header::{Contents, HEADER_BYTES, seal, seal_head};
use super::layout::{Layout, common_prefix, push_shared, push_whole};
use super::{DATA_BYTES_MAX, KEPT_BYTES_MAX, PACKED_RAW_BYTES_MAX, RAW_BYTES_MAX};

/// Room for the lengths of a pair.
const LENGTHS_BYTES: usize = 20;

/// Pairs of a full block have at least this many bytes on average, so that their entries in memory
/// are small beside them.
pub const PAIR_BYTES_MIN: usize = 24;

/// Shared prefixes must save at least one part in this many to pay: decoding them takes a copy.
const SAVING_PARTS: usize = 4;

/// Most bytes that a pair takes up in a block, including its lengths. An error if a block cannot
/// hold so many.
#[inline]
pub fn pair_bytes(record: RecordRef<'_>) -> Result<usize, FailureCause> {
    let bytes = record.key.len().saturating_add(record.value.len()).saturating_add(LENGTHS_BYTES);
    if bytes <= RAW_BYTES_MAX { Ok(bytes) } else { Err(too_large(bytes)) }
}

#[cold]
fn too_large(bytes: usize) -> FailureCause {
    FailureCause::UserError {
        place: RecordPlace::default(),
        message: format!(
            "a pair of {bytes} bytes was emitted; the largest that can be shuffled has {RAW_BYTES_MAX}"
        ),
    }
}

/// The bytes before the key and the value of a pair that has an uncompressed block to itself:
/// header and lengths.
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

/// Collects pairs and encodes them as blocks, one after the other. The savings of the last blocks
/// by shared prefixes and by compression decide how the next one is encoded.
pub struct BlockBuilder {
    block_bytes: usize,
    /// Finished blocks, then the open block: room for its header, and its pairs. So uncompressed
    /// data is never copied.
    blocks: Vec<u8>,
    /// Start of the open block.
    start: usize,
    /// Buffer for its compressed form.
    packed: Vec<u8>,
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
        assert!(block_bytes <= DATA_BYTES_MAX, "decoders refuse larger blocks");
        let mut this = Self {
            block_bytes,
            blocks: Vec::new(),
            start: 0,
            packed: Vec::new(),
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

    /// Appends a pair; returns `false`, and appends nothing, if it belongs in the next block. An
    /// error if it is too large for any.
    #[inline]
    pub fn push(&mut self, record: RecordRef<'_>) -> Result<bool, FailureCause> {
        let is_full = self.data_bytes + pair_bytes(record)? > self.block_bytes
            || self.records as usize * PAIR_BYTES_MIN >= self.block_bytes;
        if is_full && self.records > 0 {
            return Ok(false);
        }
        match self.layout {
            Layout::Whole => push_whole(&mut self.blocks, record),
            Layout::SharedPrefixes => {
                let shared = common_prefix(&self.last_key, record.key);
                push_shared(&mut self.blocks, shared, record);
                self.last_key.truncate(shared);
                self.last_key.extend_from_slice(&record.key[shared..]);
            }
        }
        self.data_bytes += record.key.len() + record.value.len();
        self.records += 1;
        Ok(true)
    }

    /// Whether the open block has no pair.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Finishes the open block and starts the next one.
    pub fn finish(&mut self) {
        if !self.compress() {
            let contents = self.contents(Method::Plain);
            seal(&mut self.blocks[self.start..], &contents);
        }
        self.start();
    }

    /// All finished blocks that were not taken, one after the other.
    pub fn finished(&self) -> &[u8] {
        &self.blocks[..self.start]
    }

    /// Drops the finished blocks. There must be no open block.
    pub fn clear(&mut self) {
        debug_assert!(self.is_empty(), "the open block would be lost");
        self.blocks.clear();
        self.blocks.shrink_to(KEPT_BYTES_MAX);
        self.make_room();
    }

    /// Takes the finished blocks. There must be no open block.
    pub fn take(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty(), "the open block would be lost");
        let room = Vec::with_capacity(self.blocks.capacity().min(KEPT_BYTES_MAX));
        let mut blocks = std::mem::replace(&mut self.blocks, room);
        blocks.truncate(self.start);
        self.make_room();
        blocks
    }

    /// Finishes the block in compressed form; returns false, and leaves it as it was, if that does
    /// not pay.
    fn compress(&mut self) -> bool {
        let raw = &self.blocks[self.start + HEADER_BYTES..];
        if raw.len() > PACKED_RAW_BYTES_MAX || !self.compressor.is_due() {
            return false;
        }
        self.packed.clear();
        self.packed.resize(HEADER_BYTES, 0);
        let Some(method) = self.compressor.append(raw, &mut self.packed) else { return false };
        let contents = self.contents(method);
        seal(&mut self.packed, &contents);
        self.blocks.truncate(self.start);
        self.blocks.extend_from_slice(&self.packed);
        true
    }

    /// The header's content. Also records whether shared prefixes have paid.
    fn contents(&mut self, method: Method) -> Contents {
        let raw_bytes = self.blocks.len() - self.start - HEADER_BYTES;
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

    /// Makes room for the next header, after the finished blocks.
    fn make_room(&mut self) {
        self.start = self.blocks.len();
        self.blocks.resize(self.start + HEADER_BYTES, 0);
    }

    fn start(&mut self) {
        self.make_room();
        self.last_key.clear();
        self.last_key.shrink_to(KEPT_BYTES_MAX);
        self.packed.shrink_to(KEPT_BYTES_MAX);
        self.records = 0;
        self.data_bytes = 0;
        self.layout = if self.sharing.is_due() { Layout::SharedPrefixes } else { Layout::Whole };
    }
}
