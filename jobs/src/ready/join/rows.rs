//! The mappers of both tables, and the reducer that joins their rows.

use crate::input::{Delimited, Header, write_quoted};
use crate::prelude::*;
use crate::ready::table::{Grouped, KeyPlan, Row, RowMapper, Scratch, Separator};

/// Most bytes of one key's left rows.
const LEFT_BYTES_MAX: usize = 64 << 20;

/// One table: emits the columns of the key, and all others as value, each behind a delimiter.
pub(super) struct Side {
    pub(super) format: Delimited,
    pub(super) by: Grouped,
    /// The number of columns of each row, if known.
    pub(super) columns: Option<usize>,
}

impl RowMapper for Side {
    type Key = [u8];
    type Value = [u8];
    type Plan = KeyPlan;

    fn format(&self) -> Delimited {
        self.format
    }

    fn plan(&self, header: &Header<'_>) -> Result<KeyPlan> {
        self.by.plan(header)
    }

    fn columns(_plan: &KeyPlan) -> usize {
        usize::MAX
    }

    fn map_row(
        &self,
        plan: &KeyPlan,
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<()> {
        let found = row.fields.len();
        if let Some(expected) = self.columns.filter(|expected| *expected != found) {
            return Err(Error::new(format!("the row has {found} columns instead of {expected}")));
        }
        scratch.value.clear();
        for index in (0..found).filter(|index| !plan.has(*index)) {
            scratch.value.push(self.format.delimiter);
            scratch.value.extend_from_slice(row.fields.raw(index).unwrap_or_default());
        }
        let separator = Separator::new(self.format.delimiter, &self.format);
        let key = plan.key(row.fields, separator, &mut scratch.key)?;
        out.emit(key, &scratch.value)
    }
}

/// Joins the rows of a key.
pub(super) struct JoinRows {
    pub(super) format: Delimited,
    /// Whether the key is the text of one column, rather than several columns as written.
    pub(super) one_column: bool,
    /// The columns for a missing left row; `None` drops right rows without a partner.
    pub(super) left_padding: Option<Vec<u8>>,
    /// The columns for a missing right row; `None` drops left rows without a partner.
    pub(super) right_padding: Option<Vec<u8>>,
}

/// The left rows of one key.
#[derive(Default)]
struct LeftRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl LeftRows {
    fn push(&mut self, row: &[u8]) -> Result<()> {
        let ends_bytes = (self.ends.len() + 1) * size_of::<usize>();
        if self.bytes.len() + row.len() + ends_bytes > LEFT_BYTES_MAX {
            return Err(Error::new(format!(
                "the left rows of this key take up more than {} MiB: make the table with fewer rows a key the left one",
                LEFT_BYTES_MAX >> 20
            )));
        }
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[*start..*end])
    }
}

impl Reducer<[u8], Tagged<[u8]>> for JoinRows {
    type OutputKey = [u8];
    type OutputValue = ();

    fn reduce(
        &self,
        key: &[u8],
        values: &mut Values<'_, Tagged<[u8]>>,
        out: &mut impl Emit<[u8], ()>,
    ) -> Result<()> {
        let mut left = LeftRows::default();
        let mut line = Vec::new();
        if self.one_column && self.format.quotes {
            write_quoted(key, self.format.delimiter, &mut line);
        } else {
            line.extend_from_slice(key);
        }
        let key_len = line.len();
        let mut emit = |left: &[u8], right: &[u8]| {
            line.truncate(key_len);
            line.extend_from_slice(left);
            line.extend_from_slice(right);
            out.emit(&line, ())
        };
        let mut has_right = false;
        while let Some((input, row)) = values.next()? {
            if input == 0 {
                left.push(row)?;
                continue;
            }
            has_right = true;
            if !left.ends.is_empty() {
                left.iter().try_for_each(|left| emit(left, row))?;
            } else if let Some(padding) = &self.left_padding {
                emit(padding, row)?;
            } else {
                // This row and the others of its key have no partner, and are dropped.
                return Ok(());
            }
        }
        match &self.right_padding {
            Some(padding) if !has_right => left.iter().try_for_each(|left| emit(left, padding)),
            _ => Ok(()),
        }
    }
}
