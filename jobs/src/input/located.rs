//! Records together with where they stand.

use super::{Chunk, Format, Framing, Position, RecordError};

/// The records of format `F`, each with its file and offset: `type Input = Located<Line>`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Located<F>(pub F);

/// A record and its place, as a mapper over [`Located`] gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocatedRecord<'a, R> {
    /// The file, as the user would name it.
    pub file: &'a str,
    /// The file's place among all of the job's input, counted from 0.
    pub file_number: u32,
    /// Of the record's first byte, from the start of the file.
    pub offset: u64,
    /// The record itself.
    pub record: R,
}

impl<'a, R> LocatedRecord<'a, R> {
    /// Where it stands.
    pub fn position(&self) -> Position<'a> {
        let Self { file, file_number, offset, .. } = *self;
        Position { file, file_number, offset }
    }
}

impl<F: Format> Format for Located<F> {
    type Record<'a> = LocatedRecord<'a, F::Record<'a>>;

    fn framing(&self) -> Framing {
        self.0.framing()
    }

    fn has_header(&self) -> bool {
        self.0.has_header()
    }

    #[inline]
    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, Self::Record<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        self.0.for_each(chunk, |position, record| {
            let Position { file, file_number, offset } = position;
            each(position, LocatedRecord { file, file_number, offset, record })
        })
    }
}
