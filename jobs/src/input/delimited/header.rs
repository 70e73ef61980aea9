//! The names of a file's columns.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use memchr::memchr;

use super::{Delimited, quotes};
use crate::error::{Error, Result};
use crate::input::{BYTE_ORDER_MARK, RecordError};
use crate::text::shown;

/// The column names of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    line: &'a [u8],
    names: Vec<Cow<'a, [u8]>>,
}

impl<'a> Header<'a> {
    /// Splits a header line, with or without its end. An error if a quoted field continues after
    /// the line.
    pub(super) fn read(line: &'a [u8], format: &Delimited) -> Result<Self, RecordError> {
        let line = memchr(b'\n', line).map_or(line, |lf| &line[..lf]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        let mut names = Vec::new();
        if format.quotes {
            let mut ends = Vec::new();
            quotes::split(line, 0, format.delimiter, usize::MAX, &mut ends)
                .map_err(|malformed| malformed.at(0))?;
            let starts = std::iter::once(0).chain(ends.iter().map(|end| end + 1));
            names.extend(starts.zip(&ends).map(|(from, to)| quotes::unquoted(&line[from..*to])));
        } else {
            names.extend(line.split(|byte| *byte == format.delimiter).map(Cow::Borrowed));
        }
        Ok(Self { line, names })
    }

    /// The line without its end; empty if there is no header.
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    /// The names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.names.iter().map(|name| &**name)
    }

    /// The number, from 0, of the first column of this name. The error lists all names.
    pub fn index_of(&self, name: &str) -> Result<usize> {
        let found = self.names().position(|column| column == name.as_bytes());
        found.ok_or_else(|| self.unknown(name))
    }

    #[cold]
    fn unknown(&self, name: &str) -> Error {
        let names: Vec<_> = self.names().map(shown).collect();
        Error::new(match &names[..] {
            [] => format!("there is no column '{name}': the file has no header"),
            names => format!("there is no column '{name}'; there are: {}", names.join(", ")),
        })
    }
}

/// A column as users name it: by its number, counted from 1, or by its name in the header.
///
/// ```
/// use windrow_jobs::input::Column;
///
/// assert_eq!("3".parse::<Column>()?, Column::Number(3));
/// assert_eq!("price".parse::<Column>()?, Column::Name("price".into()));
/// # Ok::<(), windrow_jobs::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Column {
    /// Counted from 1.
    Number(usize),
    /// By its name in the header.
    Name(String),
}

impl Column {
    /// Its index among a record's fields, from 0.
    pub fn index(&self, header: &Header<'_>) -> Result<usize> {
        match self {
            Self::Number(number) => Ok(number - 1),
            Self::Name(name) => header.index_of(name),
        }
    }
}

impl FromStr for Column {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::new("a column has a number or a name"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Name(text.to_string()));
        }
        match text.parse() {
            Ok(number @ 1..) => Ok(Self::Number(number)),
            _ => Err(Error::new(format!("there is no column {text}: they are counted from 1"))),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
