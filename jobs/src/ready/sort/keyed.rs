//! Sorts lines by columns: the key is made of the columns, and the value is the line.

use super::inverted;
use super::order::{OrderPlan, SortKey};
use crate::emit::Emit;
use crate::error::Result;
use crate::input::{Delimited, Header, Position};
use crate::output::TextOutput;
use crate::ready::first::{POSITION_BYTES, position_bytes};
use crate::ready::table::{Row, RowMapper, Scratch};

/// First byte of the keys of headers, if there are any, so that headers come before all rows.
pub(super) const HEADER: u8 = 0;
/// First byte of the keys of rows, if there are headers.
pub(super) const ROW: u8 = 1;

pub(super) struct KeyedLines {
    format: Delimited,
    keys: Vec<SortKey>,
    payload: PayloadLines,
}

/// How a line is encoded as a value, and decoded.
#[derive(Clone, Copy)]
pub(super) struct PayloadLines {
    /// Whether its position comes before it.
    pub(super) positioned: bool,
    /// Whether it is complemented, for descending order.
    pub(super) inverted: bool,
}

impl KeyedLines {
    pub(super) fn new(format: Delimited, keys: Vec<SortKey>, payload: PayloadLines) -> Self {
        let format = if keys.iter().any(|key| key.column().is_some()) {
            // Blank lines are kept.
            Delimited { blank_lines: true, ..format }
        } else {
            format.whole_lines()
        };
        Self { format, keys, payload }
    }
}

impl RowMapper for KeyedLines {
    type Key = [u8];
    type Value = [u8];
    type Plan = OrderPlan;

    fn format(&self) -> Delimited {
        self.format
    }

    fn plan(&self, header: &Header<'_>) -> Result<OrderPlan> {
        OrderPlan::new(&self.keys, header)
    }

    fn columns(plan: &OrderPlan) -> usize {
        plan.columns()
    }

    #[inline]
    fn map_row(
        &self,
        plan: &OrderPlan,
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<()> {
        let value = self.payload.wrap(row.position, row.fields.line(), &mut scratch.value);
        if !self.format.header
            && let Some(key) = plan.borrowed(row.fields)
        {
            return out.emit(key, value);
        }
        scratch.key.clear();
        if self.format.header {
            scratch.key.push(ROW);
        }
        plan.write(&self.keys, row.fields, &mut scratch.key);
        out.emit(&scratch.key, value)
    }

    /// The first file's header becomes that of the output.
    fn map_header(
        &self,
        position: Position<'_>,
        header: &Header<'_>,
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<()> {
        if position.file_number > 0 {
            return Ok(());
        }
        out.emit(&[HEADER], self.payload.wrap(position, header.line(), &mut Vec::new()))
    }
}

impl PayloadLines {
    #[inline]
    fn wrap<'a>(
        self,
        position: Position<'_>,
        line: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        if !self.positioned && !self.inverted {
            return line;
        }
        scratch.clear();
        if self.positioned {
            scratch.extend_from_slice(&position_bytes(position));
            scratch.extend_from_slice(line);
        } else {
            inverted::write(line, scratch);
        }
        scratch
    }
}

impl TextOutput<[u8], [u8]> for PayloadLines {
    #[inline]
    fn write(&self, _key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if self.inverted {
            inverted::read(value, out);
        } else {
            out.extend_from_slice(if self.positioned { &value[POSITION_BYTES..] } else { value });
        }
        out.push(b'\n');
        Ok(())
    }
}
