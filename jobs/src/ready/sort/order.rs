//! The columns to sort by, and their encoding as one key.

use super::{inverted, number};
use crate::error::{Error, Result};
use crate::input::{Column, Fields, Header};

/// One column to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SortKey {
    /// `None` for the whole line.
    column: Option<Column>,
    numeric: bool,
    reverse: bool,
}

impl SortKey {
    /// Parses keys such as `2,3nr` or `price:nr`; `None` is the whole line. Keys without flags get
    /// `numeric` and `reverse`.
    pub(super) fn parse_all(list: Option<&str>, numeric: bool, reverse: bool) -> Result<Vec<Self>> {
        let Some(list) = list else { return Ok(vec![Self { column: None, numeric, reverse }]) };
        list.split(',').map(|text| Self::parse(text.trim(), numeric, reverse)).collect()
    }

    fn parse(text: &str, numeric: bool, reverse: bool) -> Result<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (column, flags) = match text.rsplit_once(':') {
            Some(parts) => parts,
            None if digits > 0 => text.split_at(digits),
            None => (text, ""),
        };
        let column = if column == "0" { None } else { Some(column.parse()?) };
        if flags.is_empty() {
            return Ok(Self { column, numeric, reverse });
        }
        if let Some(flag) = flags.chars().find(|flag| !"nr".contains(*flag)) {
            let message = format!(
                "sort key '{text}': there is no flag '{flag}', only n (numeric) and r (reverse)"
            );
            return Err(Error::new(message));
        }
        Ok(Self { column, numeric: flags.contains('n'), reverse: flags.contains('r') })
    }

    pub(super) fn column(&self) -> Option<&Column> {
        self.column.as_ref()
    }

    /// Whether the key is the line itself, in either direction.
    pub(super) fn is_plain_line(&self) -> bool {
        self.column.is_none() && !self.numeric
    }

    /// Whether the order is descending.
    pub(super) fn is_reverse(&self) -> bool {
        self.reverse
    }

    /// Appends this part of a row's key. The last part need not be self-delimiting.
    #[inline]
    fn write(&self, text: &[u8], is_last: bool, out: &mut Vec<u8>) {
        match (self.numeric, self.reverse) {
            (true, reverse) => {
                let start = out.len();
                number::write(text, out);
                if reverse {
                    inverted::invert(&mut out[start..]);
                }
            }
            (false, true) => inverted::write(text, out),
            (false, false) if is_last => out.extend_from_slice(text),
            (false, false) => inverted::write_ascending(text, out),
        }
    }
}

/// The columns resolved for one file.
pub(super) struct OrderPlan {
    /// `None` for the whole line.
    indices: Vec<Option<usize>>,
    /// The column whose bytes are the whole key, if any.
    borrowed: Option<usize>,
}

impl OrderPlan {
    pub(super) fn new(keys: &[SortKey], header: &Header<'_>) -> Result<Self> {
        let indices: Vec<_> = keys
            .iter()
            .map(|key| key.column.as_ref().map(|column| column.index(header)).transpose())
            .collect::<Result<_>>()?;
        let borrowed = match (keys, &indices[..]) {
            ([SortKey { numeric: false, reverse: false, .. }], [index]) => *index,
            _ => None,
        };
        Ok(Self { indices, borrowed })
    }

    /// How many fields of each row are needed.
    pub(super) fn columns(&self) -> usize {
        self.indices.iter().flatten().max().map_or(0, |index| index + 1)
    }

    /// The key of a row if it can be borrowed from the row.
    #[inline]
    pub(super) fn borrowed<'a>(&self, fields: &Fields<'a>) -> Option<&'a [u8]> {
        let raw = fields.raw(self.borrowed?).unwrap_or_default();
        // A quoted field must be unquoted first.
        (raw.first() != Some(&b'"')).then_some(raw)
    }

    /// Appends the key of a row. A missing column counts as empty.
    pub(super) fn write(&self, keys: &[SortKey], fields: &Fields<'_>, out: &mut Vec<u8>) {
        for (place, (key, index)) in keys.iter().zip(&self.indices).enumerate() {
            let is_last = place + 1 == keys.len();
            match index {
                None => key.write(fields.line(), is_last, out),
                Some(index) => key.write(&fields.get(*index).unwrap_or_default(), is_last, out),
            }
        }
    }
}
