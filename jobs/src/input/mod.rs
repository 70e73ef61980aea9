//! How input files are cut into records.
//!
//! Two levels. The engine reads files in chunks and needs only a [`Framing`] to cut them where
//! records end. A [`Format`] then walks the records of one chunk, borrowed from the read buffer.
//! Neither opens a file.

mod delimited;
mod fixed;
mod framing;
mod json_lines;
mod line;
mod located;
mod quoted_lines;
mod whole_file;

pub use delimited::{Column, Delimited, Fields, Header};
pub use fixed::{FixedBytes, FixedRecords};
pub use framing::Framing;
pub use json_lines::JsonLines;
pub(crate) use line::line_count;
pub use line::{Line, LineBytes};
pub use located::{Located, LocatedRecord};
pub use whole_file::WholeFile;

pub(crate) use delimited::write_quoted;
pub(crate) use line::lines;

use std::cell::Cell;

use crate::error::Error;
use crate::failure::{FailureCause, RecordPlace};

/// What some programs write before UTF-8. It is no part of any text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A run of whole records of one file.
#[derive(Clone, Debug)]
pub struct Chunk<'a> {
    /// The file, as the user would name it.
    pub file: &'a str,
    /// The file's place among all of the job's input, counted from 0. Empty files are not counted,
    /// since nothing is read of them: the first file is the first that has something in it.
    pub file_number: u32,
    /// Of the first byte, from the start of the file.
    pub offset: u64,
    /// The records.
    pub bytes: &'a [u8],
    /// The file's first record, for formats that [ask for it](Format::has_header); otherwise empty.
    pub header: &'a [u8],
    /// Replace invalid UTF-8 by U+FFFD instead of failing.
    pub lossy: bool,
    /// Offset of the record that is being mapped.
    current: Cell<u64>,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position<'a> {
    /// The file, as the user would name it.
    pub file: &'a str,
    /// The file's place among all of the job's input, counted from 0.
    pub file_number: u32,
    /// Of the record's first byte, from the start of the file.
    pub offset: u64,
}

impl<'a> Chunk<'a> {
    /// The records `bytes` at the start of `file`, which is the job's first.
    pub fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        let current = Cell::new(0);
        Self { file, file_number: 0, offset: 0, bytes, header: &[], lossy: false, current }
    }

    /// The position of the byte at `index` of this chunk.
    #[inline]
    pub fn position(&self, index: usize) -> Position<'a> {
        let Self { file, file_number, .. } = *self;
        Position { file, file_number, offset: self.offset + index as u64 }
    }

    /// Cuts the chunk into runs of whole records, of at least `bytes` where there are so many left,
    /// and one record or more.
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

    /// The chunk without the byte order mark that some programs write before UTF-8, if it is the
    /// first of its file.
    pub(crate) fn without_mark(&self) -> Self {
        let mut chunk = self.clone();
        if let Some(text) = self.bytes.strip_prefix(BYTE_ORDER_MARK)
            && self.offset == 0
        {
            (chunk.bytes, chunk.offset) = (text, BYTE_ORDER_MARK.len() as u64);
        }
        chunk
    }

    /// Notes that the record at `offset` of the file is being mapped: where a panic is reported.
    #[inline]
    pub fn visit(&self, offset: u64) {
        self.current.set(offset);
    }

    /// The offset that was noted last.
    #[inline]
    pub fn current(&self) -> u64 {
        self.current.get()
    }
}

/// A way to read records from chunks. A format of one's own is a type that implements this.
pub trait Format: Default + Send + Sync + 'static {
    /// One record, borrowed from the chunk where possible.
    type Record<'a>;

    /// Where files in this format may be cut.
    fn framing(&self) -> Framing;

    /// Whether each chunk needs to know its file's first record, as [`Chunk::header`]. That record
    /// is still the first of its chunk: the format skips it there.
    fn has_header(&self) -> bool {
        false
    }

    /// Calls `each` with every record and its position, in order, until one fails. Where a record
    /// cannot be read, it returns a [`RecordError`] of its own.
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
    /// Of the record (or of the offending byte), from the start of the file.
    pub offset: u64,
    /// What is wrong.
    pub message: String,
}

impl RecordError {
    /// What user code said of the record at `position`.
    #[cold]
    pub fn new(position: Position<'_>, error: &Error) -> Self {
        Self { offset: position.offset, message: error.message().to_string() }
    }

    /// The failure of an attempt, with its place.
    pub fn into_failure(self, file: &str) -> FailureCause {
        let place = RecordPlace {
            file: file.to_string(),
            offset: Some(self.offset),
            ..RecordPlace::default()
        };
        FailureCause::UserError { place, message: self.message }
    }
}

#[cfg(test)]
mod tests;
