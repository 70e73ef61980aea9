//! One record of a table, split into fields.

use std::borrow::Cow;
use std::fmt;

use super::header::Header;
use super::quotes;
use crate::error::{Error, Result};
use crate::text::shown;
use crate::value::Decimal;

/// The fields of one record, counted from 0. Fields are unquoted on access.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    /// Bytes that end with the record and may begin before it.
    pub(super) bytes: &'a [u8],
    pub(super) start: usize,
    pub(super) ends: &'a [usize],
    /// Whether the record has any quote.
    pub(super) quoted: bool,
    pub(super) header: &'a Header<'a>,
}

impl<'a> Fields<'a> {
    /// The record as written in the file, without its line end.
    #[inline]
    pub fn line(&self) -> &'a [u8] {
        &self.bytes[self.start..]
    }

    /// Number of fields that were split.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no fields; a record has at least one.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The names of the columns; empty if the files have no header.
    pub fn header(&self) -> &'a Header<'a> {
        self.header
    }

    /// A field as written in the file, with its quotes.
    #[inline]
    pub fn raw(&self, index: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { self.start } else { self.ends[index - 1] + 1 };
        Some(&self.bytes[start..end])
    }

    /// A field of a record without quotes. `None` if the record has quotes or too few fields: then
    /// use [`get`](Self::get), which is slower.
    #[inline]
    pub fn plain(&self, index: usize) -> Option<&'a [u8]> {
        if self.quoted { None } else { self.raw(index) }
    }

    /// A field without its quotes. An error if the record has too few fields.
    #[inline]
    pub fn get(&self, index: usize) -> Result<Cow<'a, [u8]>> {
        let Some(field) = self.raw(index) else { return Err(self.missing(index)) };
        Ok(if self.quoted { quotes::unquoted(field) } else { Cow::Borrowed(field) })
    }

    /// A field as text. An error if it is missing or not UTF-8.
    pub fn text(&self, index: usize) -> Result<Cow<'a, str>> {
        Ok(match self.get(index)? {
            Cow::Borrowed(bytes) => Cow::Borrowed(str::from_utf8(bytes)?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes)?),
        })
    }

    /// A field as a number. An error if it is missing or not a number.
    #[inline]
    pub fn number(&self, index: usize) -> Result<Decimal> {
        match self.plain(index) {
            Some(field) => Decimal::parse(field),
            None => Decimal::parse(&self.get(index)?),
        }
    }

    /// The field of the column that the header calls `name`. O(columns) for finding it.
    pub fn named(&self, name: &str) -> Result<Cow<'a, [u8]>> {
        self.get(self.header.index_of(name)?)
    }

    /// All fields without their quotes.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'a, [u8]>> {
        (0..self.len()).map_while(|index| self.get(index).ok())
    }

    #[cold]
    fn missing(&self, index: usize) -> Error {
        let (wanted, found) = (index + 1, self.len());
        let columns = if found == 1 { "column" } else { "columns" };
        Error::new(format!("there is no column {wanted}: the record has {found} {columns}"))
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|field| shown(&field))).finish()
    }
}
