//! Input formats, which read records from files.
//!
//! There are two levels. The engine reads files in chunks, and needs only a [`Framing`] to cut them
//! between records. A [`Format`] then iterates over the records of one chunk, borrowed from the
//! read buffer. Neither opens a file. A format whose files cannot be cut by looking at the bytes
//! around a cut says where the [`Unit`]s of a file lie.

mod delimited;
mod fixed;
mod framing;
mod json_lines;
mod line;
mod located;
mod quoted_lines;
mod units;
mod whole_file;

pub use delimited::{Column, Delimited, Fields, Header};
pub use fixed::{FixedBytes, FixedRecords};
pub use framing::Framing;
pub use json_lines::JsonLines;
pub(crate) use line::line_count;
pub use line::{Line, LineBytes};
pub use located::{Located, LocatedRecord};
pub use units::{FileReader, FoundUnits, Unit, Units};
pub use whole_file::WholeFile;

pub(crate) use delimited::write_quoted;
pub(crate) use line::lines;

use std::cell::Cell;

use crate::error::Error;
use crate::failure::{FailureCause, RecordPlace};

/// Some programs write it before UTF-8 text. It is not part of the text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Consecutive whole records of one file.
#[derive(Clone, Debug)]
pub struct Chunk<'a> {
    /// The file, as the user would name it.
    pub file: &'a str,
    /// The file's number among all of the job's input files, from 0. Empty files, which are never
    /// read, have no number.
    pub file_number: u32,
    /// The offset of the first byte in the file.
    pub offset: u64,
    /// The records.
    pub bytes: &'a [u8],
    /// The file's first record, for formats that [ask for it](Format::has_header); the header that
    /// was [set](Units::set_header) for a unit; otherwise empty.
    pub header: &'a [u8],
    /// The [descriptor](Unit::with_descriptor) of the unit, which is the chunk; otherwise empty.
    pub unit: &'a [u8],
    /// Whether invalid UTF-8 is replaced with U+FFFD instead of being an error.
    pub lossy: bool,
    /// The offset of the record that is being mapped.
    current: Cell<u64>,
}

/// The position of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position<'a> {
    /// The file, as the user would name it.
    pub file: &'a str,
    /// The file's number among all of the job's input files, from 0.
    pub file_number: u32,
    /// The offset of the record's first byte in the file.
    pub offset: u64,
}

impl<'a> Chunk<'a> {
    /// A chunk with the records `bytes` at the start of `file`, the job's first.
    pub fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        let current = Cell::new(0);
        let (header, unit): (&[u8], &[u8]) = (&[], &[]);
        Self { file, file_number: 0, offset: 0, bytes, header, unit, lossy: false, current }
    }

    /// The position of the byte at `index` of this chunk. In a unit that is compressed or read in
    /// part, a format may count from the unit's start as it likes, best such that no two records
    /// have the same position.
    #[inline]
    pub fn position(&self, index: usize) -> Position<'a> {
        let Self { file, file_number, .. } = *self;
        Position { file, file_number, offset: self.offset + index as u64 }
    }

    /// Cuts the chunk into pieces of whole records: each has at least `bytes`, except the last, and
    /// at least one record.
    pub(crate) fn pieces(&self, framing: Framing, bytes: usize) -> impl Iterator<Item = Chunk<'a>> {
        let chunk = self.clone();
        let mut start = 0;
        std::iter::from_fn(move || {
            let rest = chunk.bytes.get(start..).filter(|rest| !rest.is_empty())?;
            let len = framing.records_bytes(rest, bytes);
            let offset = chunk.offset + start as u64;
            start += len;
            Some(Chunk { offset, bytes: &rest[..len], ..chunk.clone() })
        })
    }

    /// The chunk without a byte order mark, which only the first chunk of a file can have.
    pub(crate) fn without_mark(&self) -> Self {
        let mut chunk = self.clone();
        if let Some(text) = self.bytes.strip_prefix(BYTE_ORDER_MARK)
            && self.offset == 0
        {
            (chunk.bytes, chunk.offset) = (text, BYTE_ORDER_MARK.len() as u64);
        }
        chunk
    }

    /// Notes that the record at `offset` of the file is being mapped; a panic is reported there.
    #[inline]
    pub fn visit(&self, offset: u64) {
        self.current.set(offset);
    }

    /// The last noted offset.
    #[inline]
    pub fn current(&self) -> u64 {
        self.current.get()
    }
}

/// Reads records from chunks. Implement it for your own formats.
pub trait Format: Default + Send + Sync + 'static {
    /// One record, borrowed from the chunk where possible.
    type Record<'a>;

    /// Where files in this format may be cut.
    fn framing(&self) -> Framing;

    /// Whether each chunk needs its file's first record as [`Chunk::header`]. The record is still
    /// the first of its own chunk, where the format must skip it.
    fn has_header(&self) -> bool {
        false
    }

    /// Finds the units of a file in a format with [`Framing::Units`], and passes them to
    /// [`Units::push`]. Each task that reads a part of the file calls it, and keeps the units that
    /// begin in its part. So it must find the same units in the same file each time.
    ///
    /// An error fails the attempt, and names the file and the offset. Errors of `file` and `units`
    /// are to be returned.
    ///
    /// ```
    /// use windrow_jobs::input::{
    ///     Chunk, FileReader, Format, Framing, Position, RecordError, Unit, Units,
    /// };
    ///
    /// /// Blocks of bytes, each a record; the file's last byte is the size of a block.
    /// #[derive(Default)]
    /// struct Blocks;
    ///
    /// impl Format for Blocks {
    ///     type Record<'a> = &'a [u8];
    ///
    ///     fn framing(&self) -> Framing {
    ///         Framing::Units
    ///     }
    ///
    ///     fn units(&self, file: &FileReader<'_>, units: &mut Units) -> Result<(), RecordError> {
    ///         let Some(end) = file.bytes().checked_sub(1) else { return Ok(()) };
    ///         let size = u64::from(file.read(end..end + 1)?[0]);
    ///         if size == 0 {
    ///             return Err(RecordError::at(end, "blocks have no bytes"));
    ///         }
    ///         (0..end).step_by(size as usize).try_for_each(|start| {
    ///             units.push(Unit::new(start..(start + size).min(end)))
    ///         })
    ///     }
    ///
    ///     fn for_each(
    ///         &self,
    ///         chunk: &Chunk<'_>,
    ///         mut each: impl for<'a> FnMut(Position<'a>, &'a [u8]) -> Result<(), RecordError>,
    ///     ) -> Result<(), RecordError> {
    ///         each(chunk.position(0), chunk.bytes)
    ///     }
    /// }
    /// ```
    fn units(&self, file: &FileReader<'_>, units: &mut Units) -> Result<(), RecordError> {
        let _ = (file, units);
        Err(RecordError::at(
            0,
            "the format of the file has units, but does not say how to find them",
        ))
    }

    /// Calls `each` with every record and its position, in order, until one fails. Returns its own
    /// [`RecordError`] for a record that cannot be read.
    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        each: impl for<'a> FnMut(Position<'a>, Self::Record<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError>;
}

/// The record type of a format.
pub type RecordOf<'a, F> = <F as Format>::Record<'a>;

/// A record that could not be read or processed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordError {
    /// The offset of the record (or of the offending byte) in the file.
    pub offset: u64,
    /// The error message.
    pub message: String,
}

impl RecordError {
    /// An error at this offset of the file.
    #[cold]
    pub fn at(offset: u64, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }

    /// The error of user code at the record at `position`.
    #[cold]
    pub fn new(position: Position<'_>, error: &Error) -> Self {
        Self { offset: position.offset, message: error.message().to_string() }
    }

    /// The failure of an attempt at this place.
    pub fn into_failure(self, file: &str) -> FailureCause {
        let place = RecordPlace::in_file(file).at(self.offset);
        FailureCause::UserError { place, message: self.message }
    }
}

#[cfg(test)]
mod tests;
