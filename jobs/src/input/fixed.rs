//! Binary records of one size.

use super::{Chunk, Format, Framing, Position, RecordError};

/// Records of `N` bytes each, as `&[u8; N]`. A file whose size is not a multiple of `N` is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedBytes<const N: usize>;

impl<const N: usize> Format for FixedBytes<N> {
    type Record<'a> = &'a [u8; N];

    fn framing(&self) -> Framing {
        const { assert!(N > 0, "a record has at least one byte") };
        Framing::Fixed { bytes: N }
    }

    #[inline]
    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, &'a [u8; N]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let (records, rest) = chunk.bytes.as_chunks();
        for (index, record) in records.iter().enumerate() {
            each(chunk.position(index * N), record)?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(RecordError {
            offset: chunk.position(records.len() * N).offset,
            message: format!("a record of {N} bytes is cut short after {}", rest.len()),
        })
    }
}
