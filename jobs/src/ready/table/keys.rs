//! Keys made from columns.

use std::borrow::Cow;

use super::parse_columns;
use crate::error::Result;
use crate::input::{Column, Delimited, Fields, Header, write_quoted};

/// The part of a row that is its key, as the user writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ready) enum Grouped {
    /// No key: all rows are aggregated together.
    Together,
    /// The whole line, column `0`.
    ByLine,
    /// These columns.
    By(Vec<Column>),
}

/// The key resolved for one file.
pub(in crate::ready) enum KeyPlan {
    Together,
    Line,
    One(usize),
    Many(Vec<usize>),
}

/// The separator between the columns of a key.
#[derive(Clone, Copy, Debug)]
pub(in crate::ready) struct Separator {
    byte: u8,
    /// Whether a column may contain it, so that quotes are needed.
    quotes: bool,
}

impl Separator {
    /// The separator `byte` for a table in this format.
    pub(in crate::ready) fn new(byte: u8, format: &Delimited) -> Self {
        Self { byte, quotes: format.quotes || format.delimiter != byte }
    }
}

impl Grouped {
    pub(in crate::ready) fn parse(by: Option<&str>) -> Result<Self> {
        Ok(match by {
            None => Self::Together,
            Some("0") => Self::ByLine,
            Some(list) => Self::By(parse_columns(list)?),
        })
    }

    pub(in crate::ready) fn columns(&self) -> &[Column] {
        if let Self::By(columns) = self { columns } else { &[] }
    }

    pub(in crate::ready) fn plan(&self, header: &Header<'_>) -> Result<KeyPlan> {
        Ok(match self {
            Self::Together => KeyPlan::Together,
            Self::ByLine => KeyPlan::Line,
            Self::By(columns) => match &columns[..] {
                [column] => KeyPlan::One(column.index(header)?),
                columns => KeyPlan::Many(
                    columns.iter().map(|column| column.index(header)).collect::<Result<_>>()?,
                ),
            },
        })
    }
}

impl KeyPlan {
    /// How many fields of a row the key needs, counted from the first.
    pub(in crate::ready) fn columns(&self) -> usize {
        match self {
            Self::Together | Self::Line => 0,
            Self::One(index) => index + 1,
            Self::Many(indices) => indices.iter().max().map_or(0, |index| index + 1),
        }
    }

    /// Whether a field is part of the key.
    pub(in crate::ready) fn has(&self, index: usize) -> bool {
        match self {
            Self::Together => false,
            Self::Line => true,
            Self::One(column) => *column == index,
            Self::Many(columns) => columns.contains(&index),
        }
    }

    /// The key of a row: the text of one column, or several columns with separators between them. A
    /// column that contains a separator is quoted, so that different columns never make the same
    /// key.
    #[inline]
    pub(in crate::ready) fn key<'a>(
        &self,
        fields: &Fields<'a>,
        separator: Separator,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        match self {
            Self::Together => Ok(&[]),
            Self::Line => Ok(fields.line()),
            Self::One(index) => match fields.plain(*index) {
                Some(field) => Ok(field),
                None => match fields.get(*index)? {
                    Cow::Borrowed(field) => Ok(field),
                    Cow::Owned(field) => {
                        *scratch = field;
                        Ok(scratch)
                    }
                },
            },
            Self::Many(indices) => {
                write_columns(indices, fields, separator, scratch)?;
                Ok(scratch)
            }
        }
    }
}

/// Not inlined, so that the case of one column is.
#[inline(never)]
fn write_columns(
    columns: &[usize],
    fields: &Fields<'_>,
    separator: Separator,
    key: &mut Vec<u8>,
) -> Result<()> {
    key.clear();
    for (place, column) in columns.iter().enumerate() {
        if place > 0 {
            key.push(separator.byte);
        }
        let field = fields.get(*column)?;
        if separator.quotes {
            write_quoted(&field, separator.byte, key);
        } else {
            key.extend_from_slice(&field);
        }
    }
    Ok(())
}
