//! One record of a table, split into fields.

use std::borrow::Cow;
use std::fmt;

use super::header::Header;
use super::quotes;
use crate::error::{Error, Result};
use crate::text::shown;
use crate::value::Decimal;

/// The fields of one record, counted from 0. Unquoting is left to the moment at which a field is
/// asked for.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    /// Up to the end of the record, and from somewhere before it.
    pub(super) bytes: &'a [u8],
    pub(super) start: usize,
    pub(super) ends: &'a [usize],
    /// Whether there is a quote anywhere in the record.
    pub(super) quoted: bool,
    pub(super) header: &'a Header<'a>,
}

impl<'a> Fields<'a> {
    /// The record as it stands in the file, without the line's end.
    #[inline]
    pub fn line(&self) -> &'a [u8] {
        &self.bytes[self.start..]
    }

    /// Number of fields (that were split off).
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none; a record has at least one.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The names of the columns; none where the files have no header.
    pub fn header(&self) -> &'a Header<'a> {
        self.header
    }

    /// A field as it stands in the file, with its quotes.
    #[inline]
    pub fn raw(&self, index: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { self.start } else { self.ends[index - 1] + 1 };
        Some(&self.bytes[start..end])
    }

    /// A field that is the same with and without its quotes, as it stands in the file. `None` where
    /// the record has quotes or too few fields: then [`get`](Self::get) tells more, and costs more.
    #[inline]
    pub fn plain(&self, index: usize) -> Option<&'a [u8]> {
        if self.quoted { None } else { self.raw(index) }
    }

    /// A field without its quotes. An error where the record has too few.
    #[inline]
    pub fn get(&self, index: usize) -> Result<Cow<'a, [u8]>> {
        let Some(field) = self.raw(index) else { return Err(self.missing(index)) };
        Ok(if self.quoted { quotes::unquoted(field) } else { Cow::Borrowed(field) })
    }

    /// A field as text. An error where it is missing or not UTF-8.
    pub fn text(&self, index: usize) -> Result<Cow<'a, str>> {
        Ok(match self.get(index)? {
            Cow::Borrowed(bytes) => Cow::Borrowed(str::from_utf8(bytes)?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes)?),
        })
    }

    /// A field as a number. An error where it is missing or none.
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
