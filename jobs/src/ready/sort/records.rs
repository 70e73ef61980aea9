//! Sorts records of one size: the key is the bytes to sort by, and the value is the other bytes, so
//! that nothing is stored twice.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::inverted;
use crate::emit::Emit;
use crate::error::{Error, Result};
use crate::input::{Chunk, FixedRecords, Format, Located, LocatedRecord, Position, RecordError};
use crate::mapper::Mapper;
use crate::output::TextOutput;
use crate::ready::first::{POSITION_BYTES, position_bytes};

pub(super) struct Records {
    pub(super) bytes: NonZeroUsize,
    pub(super) key: Range<usize>,
    pub(super) layout: RecordOutput,
}

/// How a record is encoded as key and value, and decoded.
#[derive(Clone, Copy)]
pub(super) struct RecordOutput {
    /// The index of the key in its record.
    pub(super) key_start: usize,
    /// Whether everything is complemented, for descending order.
    pub(super) reverse: bool,
    /// Whether the value has its record's position before it, and is not complemented.
    pub(super) positioned: bool,
}

/// Parses `FROM..TO`; `None` is the whole record.
pub(super) fn parse_range(range: Option<&str>, record_bytes: usize) -> Result<Range<usize>> {
    let Some(text) = range else { return Ok(0..record_bytes) };
    let bounds = text.split_once("..").and_then(|(from, to)| {
        let from = if from.is_empty() { 0 } else { from.parse().ok()? };
        let to = if to.is_empty() { record_bytes } else { to.parse().ok()? };
        (from < to && to <= record_bytes).then_some(from..to)
    });
    bounds.ok_or_else(|| {
        Error::new(format!("bad --key-bytes '{text}': it is FROM..TO, within 0..{record_bytes}"))
    })
}

impl RecordOutput {
    /// Whether key and value are the record's own bytes in order.
    #[inline]
    fn is_plain(self) -> bool {
        self.key_start == 0 && !self.reverse && !self.positioned
    }
}

impl Records {
    fn emit_wrapped(
        &self,
        position: Position<'_>,
        record: &[u8],
        (key, value): &mut (Vec<u8>, Vec<u8>),
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<()> {
        let RecordOutput { reverse, positioned, .. } = self.layout;
        key.clear();
        value.clear();
        key.extend_from_slice(&record[self.key.clone()]);
        if positioned {
            value.extend_from_slice(&position_bytes(position));
        }
        value.extend_from_slice(&record[..self.key.start]);
        value.extend_from_slice(&record[self.key.end..]);
        if reverse {
            inverted::invert(key);
        }
        if reverse && !positioned {
            inverted::invert(value);
        }
        out.emit(key, value)
    }
}

impl Mapper for Records {
    type Input = Located<FixedRecords>;
    type Key = [u8];
    type Value = [u8];

    fn map(&self, record: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<[u8], [u8]>) -> Result<()> {
        self.emit_wrapped(record.position(), record.record, &mut Default::default(), out)
    }

    fn format(&self) -> Located<FixedRecords> {
        Located(FixedRecords { bytes: self.bytes })
    }

    fn map_chunk(
        &self,
        format: &Located<FixedRecords>,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<u64, RecordError> {
        let (plain, split, mut scratch) =
            (self.layout.is_plain(), self.key.end, Default::default());
        format.0.for_each(chunk, |position, record| {
            chunk.visit(position.offset);
            let emitted = if plain {
                out.emit(&record[..split], &record[split..])
            } else {
                self.emit_wrapped(position, record, &mut scratch, out)
            };
            emitted.map_err(|error| position.error(&error))
        })?;
        Ok((chunk.bytes.len() / self.bytes) as u64)
    }
}

impl TextOutput<[u8], [u8]> for RecordOutput {
    #[inline]
    fn write(&self, key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if self.is_plain() {
            out.extend_from_slice(key);
            out.extend_from_slice(value);
            return Ok(());
        }
        let start = out.len();
        let others = if self.positioned { &value[POSITION_BYTES..] } else { value };
        out.extend_from_slice(&others[..self.key_start]);
        out.extend_from_slice(key);
        let key_end = out.len();
        out.extend_from_slice(&others[self.key_start..]);
        if self.reverse && self.positioned {
            inverted::invert(&mut out[start + self.key_start..key_end]);
        } else if self.reverse {
            inverted::invert(&mut out[start..]);
        }
        Ok(())
    }
}
