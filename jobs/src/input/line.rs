//! Text lines that end with LF or CRLF; the last line may lack its end.

use std::ops::Range;

use memchr::Memchr;

use super::{Chunk, Format, Framing, Position, RecordError};

/// Lines as `&str`, without their ends. Invalid UTF-8 is an error that names the offending byte's
/// offset; with `--lossy` it is replaced with U+FFFD. A byte order mark at the start of a file is
/// skipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line;

/// Lines as `&[u8]`, without their ends; any bytes are valid.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineBytes;

impl Format for Line {
    type Record<'a> = &'a str;

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    #[inline]
    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, &'a str) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let chunk = &chunk.without_mark();
        // Validating a whole chunk is several times faster than line by line.
        match simdutf8::basic::from_utf8(chunk.bytes) {
            Ok(text) => lines(chunk.bytes)
                .try_for_each(|line| each(chunk.position(line.start), &text[line])),
            Err(_) if chunk.lossy => lines(chunk.bytes).try_for_each(|line| {
                let position = chunk.position(line.start);
                each(position, &String::from_utf8_lossy(&chunk.bytes[line]))
            }),
            Err(_) => Err(invalid_utf8(chunk)),
        }
    }
}

impl Format for LineBytes {
    type Record<'a> = &'a [u8];

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    #[inline]
    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, &'a [u8]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        lines(chunk.bytes).try_for_each(|line| each(chunk.position(line.start), &chunk.bytes[line]))
    }
}

/// Number of lines of a chunk; the last line may lack its end.
pub(crate) fn line_count(bytes: &[u8]) -> u64 {
    let ends = memchr::memchr_iter(b'\n', bytes).count();
    (ends + usize::from(bytes.last().is_some_and(|byte| *byte != b'\n'))) as u64
}

/// The ranges of all lines of `bytes`, without their ends.
pub(crate) fn lines(bytes: &[u8]) -> Lines<'_> {
    Lines { bytes, ends: memchr::memchr_iter(b'\n', bytes), start: 0 }
}

pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    ends: Memchr<'a>,
    start: usize,
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.start;
        if let Some(lf) = self.ends.next() {
            self.start = lf + 1;
            let cr = lf > start && self.bytes[lf - 1] == b'\r';
            Some(start..lf - usize::from(cr))
        } else if start < self.bytes.len() {
            self.start = self.bytes.len();
            Some(start..self.bytes.len())
        } else {
            None
        }
    }
}

#[cold]
fn invalid_utf8(chunk: &Chunk<'_>) -> RecordError {
    let valid_bytes = str::from_utf8(chunk.bytes).map_or_else(|e| e.valid_up_to(), str::len);
    let byte = chunk.bytes.get(valid_bytes).copied().unwrap_or_default();
    RecordError {
        offset: chunk.position(valid_bytes).offset,
        message: format!("invalid UTF-8: byte 0x{byte:02x} (--lossy replaces such bytes)"),
    }
}
