//! Files that are read as a whole.

use super::{Chunk, Format, Framing, Position, RecordError};

/// Each file as one record, as `&[u8]`: for formats that cannot be cut, such as images. Each thread
/// reads one file at a time. Empty files have no record; a file larger than `--max-record-size` is
/// an error.
///
/// ```
/// use windrow_jobs::prelude::*;
/// use windrow_jobs::testing;
///
/// /// The size of each file.
/// struct Sizes;
///
/// impl Mapper for Sizes {
///     type Input = Located<WholeFile>;
///     type Key = str;
///     type Value = u64;
///
///     fn map(
///         &self,
///         file: LocatedRecord<'_, &[u8]>,
///         out: &mut impl Emit<str, u64>,
///     ) -> Result<()> {
///         out.emit(file.file, file.record.len() as u64)
///     }
/// }
///
/// let job = Job::new("sizes", Sizes).map_only();
/// let text = testing::run(&job, "{}", &[("a.txt", "1\n2\n"), ("b.txt", "x")])?;
/// assert_eq!(text, "a.txt\t4\nb.txt\t1\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WholeFile;

impl Format for WholeFile {
    type Record<'a> = &'a [u8];

    fn framing(&self) -> Framing {
        Framing::Whole
    }

    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, &'a [u8]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        if chunk.bytes.is_empty() { Ok(()) } else { each(chunk.position(0), chunk.bytes) }
    }
}
