//! Records with their positions.

use super::{Chunk, FileReader, Format, Framing, Position, RecordError, Units};

/// The records of format `F`, each with its file and offset: `type Input = Located<Line>`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Located<F>(pub F);

/// A record and its position, as a mapper with [`Located`] input gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocatedRecord<'a, R> {
    /// The file, as the user would name it.
    pub file: &'a str,
    /// The file's number among all of the job's input files, from 0.
    pub file_number: u32,
    /// The offset of the record's first byte in the file.
    pub offset: u64,
    /// The record.
    pub record: R,
}

impl<'a, R> LocatedRecord<'a, R> {
    /// The record's position.
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

    fn units(&self, file: &FileReader<'_>, units: &mut Units) -> Result<(), RecordError> {
        self.0.units(file, units)
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
