//! Tables as text: one record per line, columns between delimiters, quoted as in RFC 4180.
//!
//! A quoted field must not contain a line break: that is an error that names its place, never two
//! wrong records. If bad records are skipped, it is one bad record with all of its lines
//! ([`Framing::QuotedLines`]).

mod fields;
mod header;
mod quotes;

pub use fields::Fields;
pub use header::{Column, Header};
pub(crate) use quotes::write_quoted;

use super::{BYTE_ORDER_MARK, Chunk, Format, Framing, Position, RecordError};
use crate::error::Error;
use crate::scan;

/// CSV, TSV and similar formats. Blank lines are not records. Lines may end with CRLF, and a file
/// may begin with a byte order mark.
///
/// ```
/// use windrow_jobs::input::{Chunk, Delimited, Format};
///
/// let chunk = Chunk::new("farms.csv", b"7,\"Greenfield, upper\"\n8,Hayfield\n");
/// let mut names = Vec::new();
/// Delimited::csv().for_each(&chunk, |position, fields| {
///     let name = fields.text(1).map_err(|error| position.error(&error))?;
///     names.push(name.into_owned());
///     Ok(())
/// })?;
/// assert_eq!(names, ["Greenfield, upper", "Hayfield"]);
/// # Ok::<(), windrow_jobs::input::RecordError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delimited {
    /// The byte between columns.
    pub delimiter: u8,
    /// Whether a field that begins with `"` is quoted; otherwise quotes are ordinary bytes.
    pub quotes: bool,
    /// Whether the first line of each file names its columns.
    pub header: bool,
    /// Whether a blank line is a record with one empty column.
    pub blank_lines: bool,
}

impl Delimited {
    /// Comma-separated, with quotes, without a header.
    pub const fn csv() -> Self {
        Self { delimiter: b',', quotes: true, header: false, blank_lines: false }
    }

    /// Tab-separated, without quotes or a header.
    pub const fn tsv() -> Self {
        Self { delimiter: b'\t', quotes: false, ..Self::csv() }
    }

    /// The same with a header.
    pub const fn with_header(self) -> Self {
        Self { header: true, ..self }
    }

    /// The same with another byte between columns.
    pub const fn with_delimiter(self, delimiter: u8) -> Self {
        Self { delimiter, ..self }
    }

    /// The same with quoted fields, or with quotes as ordinary bytes.
    pub const fn with_quotes(self, quotes: bool) -> Self {
        Self { quotes, ..self }
    }

    /// The same with blank lines as records with one empty column.
    pub const fn with_blank_lines(self) -> Self {
        Self { blank_lines: true, ..self }
    }

    /// The same for a job that uses no column: every line is a record, whatever its quotes.
    pub(crate) const fn whole_lines(self) -> Self {
        Self { quotes: false, blank_lines: true, ..self }
    }

    /// The names of the columns of the chunk's file; empty if files have no header. An error if the
    /// header is malformed.
    pub fn header_of<'a>(&self, chunk: &Chunk<'a>) -> Result<Header<'a>, RecordError> {
        if !self.header {
            return Ok(Header::default());
        }
        // A chunk made without a header, as in tests, begins with it.
        let line = match chunk.header {
            [] if chunk.offset == 0 => &chunk.bytes[..line_bytes(chunk.bytes)],
            line => line,
        };
        Header::read(line, self)
    }

    /// Calls `each` with every record until one fails, and returns their number. Like
    /// [`Format::for_each`], but splits only the first `columns` fields of each record, with a
    /// known header.
    #[inline]
    pub fn rows(
        &self,
        chunk: &Chunk<'_>,
        header: &Header<'_>,
        columns: usize,
        mut each: impl for<'a> FnMut(Position<'a>, Fields<'a>) -> Result<(), RecordError>,
    ) -> Result<u64, RecordError> {
        let first = match chunk.offset {
            0 if self.header => line_bytes(chunk.bytes),
            0 if chunk.bytes.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
            _ => 0,
        };
        let mut rows =
            Rows { format: self, chunk, header, columns, ends: Vec::new(), start: first };
        let quote = if self.quotes { quotes::QUOTE } else { b'\n' };
        let (mut fields, mut quoted, mut records) = (0, false, 0);
        for at in scan::positions(&chunk.bytes[first..], [self.delimiter, b'\n', quote]) {
            let at = first + at;
            let byte = chunk.bytes[at];
            if byte == self.delimiter {
                if fields < columns {
                    rows.set_end(fields, at);
                    fields += 1;
                }
            } else if byte == b'\n' {
                records += u64::from(rows.finish(at, fields, quoted, &mut each)?);
                (fields, quoted) = (0, false);
                rows.start = at + 1;
            } else {
                quoted = true;
            }
        }
        if rows.start < chunk.bytes.len() {
            records += u64::from(rows.finish(chunk.bytes.len(), fields, quoted, &mut each)?);
        }
        Ok(records)
    }
}

impl Default for Delimited {
    fn default() -> Self {
        Self::csv()
    }
}

impl Format for Delimited {
    type Record<'a> = Fields<'a>;

    fn framing(&self) -> Framing {
        if self.quotes {
            Framing::QuotedLines { delimiter: self.delimiter }
        } else {
            Framing::Lines
        }
    }

    fn has_header(&self) -> bool {
        self.header
    }

    #[inline]
    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        each: impl for<'a> FnMut(Position<'a>, Fields<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        self.rows(chunk, &self.header_of(chunk)?, usize::MAX, each).map(|_| ())
    }
}

/// The state of [`Delimited::rows`].
struct Rows<'c, 'h> {
    format: &'c Delimited,
    chunk: &'c Chunk<'c>,
    header: &'h Header<'h>,
    columns: usize,
    /// The ends of the current record's fields, as indices in the chunk; later entries are stale.
    ends: Vec<usize>,
    /// The start of the current record.
    start: usize,
}

impl Rows<'_, '_> {
    /// Sets the end of a field; the ends of earlier fields are set.
    #[inline]
    fn set_end(&mut self, field: usize, end: usize) {
        match self.ends.get_mut(field) {
            Some(place) => *place = end,
            None => self.ends.push(end),
        }
    }

    /// Passes on the record that ends before `end`, of which `fields` field ends are known; `false`
    /// if there is none.
    #[inline]
    fn finish(
        &mut self,
        end: usize,
        mut fields: usize,
        quoted: bool,
        each: &mut impl for<'a> FnMut(Position<'a>, Fields<'a>) -> Result<(), RecordError>,
    ) -> Result<bool, RecordError> {
        let Self { format, chunk, header, columns, start, .. } = *self;
        let line_end = without_cr(chunk.bytes, start, end);
        if start == line_end && !format.blank_lines {
            return Ok(false);
        }
        if quoted {
            // Delimiters inside quotes were counted as field ends.
            self.ends.clear();
            let line = &chunk.bytes[..line_end];
            quotes::split(line, start, format.delimiter, columns, &mut self.ends)
                .map_err(|malformed| malformed.at(chunk.offset))?;
            fields = self.ends.len();
        } else if fields < columns {
            self.set_end(fields, line_end);
            fields += 1;
        }
        let (bytes, ends) = (&chunk.bytes[..line_end], &self.ends[..fields]);
        each(chunk.position(start), Fields { bytes, start, ends, quoted, header })?;
        Ok(true)
    }
}

impl Position<'_> {
    /// The error of user code at the current record.
    #[cold]
    pub fn error(self, error: &Error) -> RecordError {
        RecordError::new(self, error)
    }
}

/// The end, before a CR, of the line from `start` to the LF (or end of file) at `end`.
#[inline]
fn without_cr(bytes: &[u8], start: usize, end: usize) -> usize {
    let ends_with_cr = end > start && end < bytes.len() && bytes[end - 1] == b'\r';
    end - usize::from(ends_with_cr)
}

/// Size of the first line with its end.
fn line_bytes(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |lf| lf + 1)
}

#[cfg(test)]
mod tests;
