//! Binary records of one size.

use std::num::NonZeroUsize;

use super::{Chunk, Format, Framing, Position, RecordError};

/// Records of `N` bytes each, as `&[u8; N]`. A file whose size is not a multiple of `N` is an
/// error.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedBytes<const N: usize>;

impl<const N: usize> Format for FixedBytes<N> {
    type Record<'a> = &'a [u8; N];

    fn framing(&self) -> Framing {
        let bytes = const { NonZeroUsize::new(N).expect("a record has at least one byte") };
        Framing::Fixed { bytes }
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
        if rest.is_empty() { Ok(()) } else { Err(cut_short(chunk, N, rest.len())) }
    }
}

/// Records of a size that is known only at run time, as `&[u8]`: the [`FixedBytes`] of jobs with a
/// flag for the size. A file whose size is not a multiple of it is an error.
///
/// ```
/// use std::num::NonZeroUsize;
/// use windrow_jobs::input::{Chunk, FixedRecords, Format};
///
/// let format = FixedRecords::new(NonZeroUsize::new(2).unwrap());
/// let mut records = Vec::new();
/// format.for_each(&Chunk::new("pairs.bin", b"abcd"), |_, record| {
///     records.push(record.to_vec());
///     Ok(())
/// })?;
/// assert_eq!(records, [b"ab", b"cd"]);
/// # Ok::<(), windrow_jobs::input::RecordError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FixedRecords {
    /// Size of a record.
    pub bytes: NonZeroUsize,
}

impl FixedRecords {
    /// Records of `bytes` bytes each.
    pub const fn new(bytes: NonZeroUsize) -> Self {
        Self { bytes }
    }
}

impl Default for FixedRecords {
    /// Records of one byte.
    fn default() -> Self {
        Self { bytes: NonZeroUsize::MIN }
    }
}

impl Format for FixedRecords {
    type Record<'a> = &'a [u8];

    fn framing(&self) -> Framing {
        Framing::Fixed { bytes: self.bytes }
    }

    #[inline]
    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, &'a [u8]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let bytes = self.bytes.get();
        let records = chunk.bytes.chunks_exact(bytes);
        let rest = records.remainder();
        for (index, record) in records.enumerate() {
            each(chunk.position(index * bytes), record)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(cut_short(chunk, bytes, rest.len())) }
    }
}

/// The error for a last record that lacks bytes.
#[cold]
fn cut_short(chunk: &Chunk<'_>, bytes: usize, rest: usize) -> RecordError {
    RecordError {
        offset: chunk.position(chunk.bytes.len() - rest).offset,
        message: format!("a record of {bytes} bytes is cut short after {rest}"),
    }
}
