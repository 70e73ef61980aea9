//! The format of a table.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Grouped;
use crate::error::{Error, Result};
use crate::input::{Column, Delimited};

/// The flags for the format of a table.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub(in crate::ready) struct TableArgs {
    /// The delimiter between columns: one character, or 'tab'
    #[arg(long, value_name = "CHAR", default_value = ",")]
    delimiter: String,

    /// Whether the first line of each file names its columns ('auto': if a column is given by its
    /// name)
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", num_args = 0..=1, default_missing_value = "true")]
    header: Header,

    /// Treat '"' as an ordinary character; always so if the delimiter is a tab
    #[arg(long)]
    no_quotes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Header {
    Auto,
    True,
    False,
}

impl TableArgs {
    /// The format of a table for a job that uses these columns.
    pub(in crate::ready) fn format<'a>(
        &self,
        columns: impl IntoIterator<Item = &'a Column>,
    ) -> Result<Delimited> {
        let delimiter = self.delimiter_byte()?;
        let named = columns.into_iter().find(|column| matches!(column, Column::Name(_)));
        let header = match (self.header, named) {
            (Header::False, Some(name)) => {
                let message = format!("column '{name}' needs a header: leave out --header false");
                return Err(Error::new(message));
            }
            (Header::Auto, named) => named.is_some(),
            (Header::True, _) => true,
            (Header::False, None) => false,
        };
        let quotes = !self.no_quotes && delimiter != b'\t';
        Ok(Delimited { delimiter, quotes, header, blank_lines: false })
    }

    /// The format of a table whose rows are grouped `by` columns, for a job that also uses
    /// `others`. If the key is the whole line and no column is used, quotes have no meaning, and a
    /// blank line is a record.
    pub(in crate::ready) fn format_by<'a>(
        &self,
        by: &'a Grouped,
        others: impl IntoIterator<Item = &'a Column>,
    ) -> Result<Delimited> {
        let mut others = others.into_iter().peekable();
        let whole_lines = *by == Grouped::ByLine && others.peek().is_none();
        let format = self.format(by.columns().iter().chain(others))?;
        Ok(if whole_lines { format.whole_lines() } else { format })
    }

    fn delimiter_byte(&self) -> Result<u8> {
        match (&*self.delimiter, self.delimiter.as_bytes()) {
            ("tab" | "\\t", _) => Ok(b'\t'),
            (_, [byte]) if !matches!(byte, b'\n' | b'\r' | b'"') => Ok(*byte),
            (text, _) => Err(Error::new(format!(
                "bad delimiter '{}': it is one ASCII character, or 'tab'",
                text.escape_default()
            ))),
        }
    }
}

/// Parses columns such as `1,3` or `id,name`.
pub(in crate::ready) fn parse_columns(list: &str) -> Result<Vec<Column>> {
    list.split(',').map(|column| column.trim().parse()).collect()
}
