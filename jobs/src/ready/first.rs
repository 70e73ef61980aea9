//! The first of several records in input order.
//!
//! A record is stored behind its position, so that an earlier record has smaller bytes.

use crate::input::Position;
use crate::prelude::*;

/// Size of a position.
pub(super) const POSITION_BYTES: usize = 12;

/// An encoded position; earlier positions are smaller.
#[inline]
pub(super) fn position_bytes(position: Position<'_>) -> [u8; POSITION_BYTES] {
    let mut bytes = [0; POSITION_BYTES];
    bytes[..4].copy_from_slice(&position.file_number.to_be_bytes());
    bytes[4..].copy_from_slice(&position.offset.to_be_bytes());
    bytes
}

/// Keeps the smallest value of each key.
pub(super) struct First;

impl Combiner<[u8]> for First {
    type Accumulator = Vec<u8>;

    fn start(&self, value: &[u8]) -> Result<Vec<u8>> {
        Ok(value.to_vec())
    }

    #[inline]
    fn add(&self, first: &mut Vec<u8>, value: &[u8]) -> Result<()> {
        if value < &first[..] {
            first.clear();
            first.extend_from_slice(value);
        }
        Ok(())
    }

    fn heap_bytes(&self, first: &Vec<u8>) -> usize {
        first.capacity()
    }

    fn finish<'a>(&self, first: &'a Vec<u8>) -> &'a [u8] {
        first
    }
}

impl Reducer<[u8], [u8]> for First {
    type OutputKey = [u8];
    type OutputValue = [u8];

    /// Values come in the order of their bytes.
    fn reduce(
        &self,
        key: &[u8],
        values: &mut Values<'_, [u8]>,
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<()> {
        values.next()?.map_or(Ok(()), |first| out.emit(key, first))
    }
}

/// Writes the value without its position, as a line.
#[derive(Clone, Copy)]
pub(super) struct PositionedLines;

impl TextOutput<[u8], [u8]> for PositionedLines {
    #[inline]
    fn write(&self, key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        TextOutput::<[u8], [u8]>::write(&ValueLines, key, &value[POSITION_BYTES..], out)
    }
}
