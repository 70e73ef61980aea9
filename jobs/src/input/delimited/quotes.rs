//! Quoted fields as in RFC 4180: `"` around the field, doubled inside.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::input::RecordError;

pub(super) const QUOTE: u8 = b'"';

/// A field with malformed quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    index: usize,
    message: &'static str,
}

impl Malformed {
    /// The error, given the `offset` of the first byte in its file.
    pub(super) fn at(self, offset: u64) -> RecordError {
        RecordError { offset: offset + self.index as u64, message: self.message.to_string() }
    }
}

/// Puts the ends of the first `columns` fields of the record `bytes[start..]` into `ends`, as
/// indices in `bytes`. The other fields are checked, too: a quote that is never closed would make
/// the next record wrong.
pub(super) fn split(
    bytes: &[u8],
    start: usize,
    delimiter: u8,
    columns: usize,
    ends: &mut Vec<usize>,
) -> Result<(), Malformed> {
    let mut from = start;
    loop {
        let end = if bytes[from..].first() == Some(&QUOTE) {
            quoted_end(bytes, from, delimiter)?
        } else {
            memchr(delimiter, &bytes[from..]).map_or(bytes.len(), |at| from + at)
        };
        if ends.len() < columns {
            ends.push(end);
        }
        if end == bytes.len() {
            return Ok(());
        }
        from = end + 1;
    }
}

/// The end of the quoted field that starts at `start`.
fn quoted_end(bytes: &[u8], start: usize, delimiter: u8) -> Result<usize, Malformed> {
    let mut from = start + 1;
    loop {
        let Some(at) = memchr(QUOTE, &bytes[from..]) else {
            let message = "a quoted field does not end on its line; fields cannot hold line breaks";
            return Err(Malformed { index: start, message });
        };
        let next = from + at + 1;
        match bytes.get(next) {
            Some(&QUOTE) => from = next + 1,
            Some(byte) if *byte != delimiter => {
                return Err(Malformed { index: next, message: "text follows a closing quote" });
            }
            _ => return Ok(next),
        }
    }
}

/// A well-formed field without its quotes: borrowed unless it contains doubled quotes.
pub(super) fn unquoted(field: &[u8]) -> Cow<'_, [u8]> {
    let [QUOTE, inner @ .., QUOTE] = field else { return Cow::Borrowed(field) };
    let Some(first) = memchr(QUOTE, inner) else { return Cow::Borrowed(inner) };
    let (mut text, mut rest) = (inner[..=first].to_vec(), &inner[first + 2..]);
    while let Some(at) = memchr(QUOTE, rest) {
        text.extend_from_slice(&rest[..=at]);
        rest = &rest[at + 2..];
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

/// Appends a field, quoted if it could not be read back otherwise.
pub(crate) fn write_quoted(field: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    // A CR at the end of a line would be read as part of the line end.
    let plain = field.first() != Some(&QUOTE) && field.last() != Some(&b'\r');
    if plain && memchr2(delimiter, b'\n', field).is_none() {
        return out.extend_from_slice(field);
    }
    out.push(QUOTE);
    for byte in field {
        if *byte == QUOTE {
            out.push(QUOTE);
        }
        out.push(*byte);
    }
    out.push(QUOTE);
}
