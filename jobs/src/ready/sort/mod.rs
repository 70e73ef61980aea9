//! `sort`: lines or fixed-size records in order, across all parts.

mod inverted;
mod keyed;
mod lines;
pub(super) mod number;
mod order;
mod records;

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::first::First;
use super::table::{Rows, TableArgs};
use crate::prelude::*;
use keyed::{KeyedLines, PayloadLines};
use lines::{LineKeys, Lines};
use order::SortKey;
use records::{RecordOutput, Records};

/// Sorts by bytes, like `sort` in the C locale. The parts concatenated in order are sorted as a
/// whole. Lines are compared whole, or by one key column after the other; lines with equal keys are
/// then compared whole, as in GNU sort, unless `--stable` keeps them in input order. CRLF becomes
/// LF.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run sort --key 2nr ..
/// let params = r#"{"key":"2nr","numeric":false,"reverse":false,"unique":false,"stable":false,
///     "record_bytes":null,"key_bytes":null,
///     "table":{"delimiter":",","header":"auto","no_quotes":false}}"#;
/// let text = testing::run(&ready::sort(), params, &[("a.csv", "hay,9\nrye,10\n")])?;
/// assert_eq!(text, "rye,10\nhay,9\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn sort() -> Job {
    Job::with_params("sort", |params: &Params| match params.record_bytes {
        Some(bytes) => params.sort_records(bytes),
        None => params.sort_lines(),
    })
    .with_about("Sort lines or fixed-size records, over all parts")
}

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Columns to sort by, by number or name: '2', '3nr,1' (n: as numbers, r: descending),
    /// 'price:nr' [default: the whole line]
    #[arg(short, long, value_name = "COLUMNS")]
    key: Option<String>,

    /// Compare as numbers; text that is not a number counts as 0. With --key, applies to columns
    /// without flags
    #[arg(short, long)]
    numeric: bool,

    /// Sort in descending order. With --key, applies to columns without flags
    #[arg(short, long)]
    reverse: bool,

    /// Of lines with equal keys, keep only the first in input order
    #[arg(short, long)]
    unique: bool,

    /// Keep lines with equal keys in input order
    #[arg(short, long)]
    stable: bool,

    /// Sort records of N bytes each instead of lines
    #[arg(long, value_name = "N", value_parser = super::positive)]
    record_bytes: Option<NonZeroUsize>,

    /// Bytes of each record to sort by, from 0 and without the end, such as '0..10' [default: all]
    #[arg(long, value_name = "FROM..TO", requires = "record_bytes")]
    key_bytes: Option<String>,

    #[command(flatten)]
    table: TableArgs,
}

impl Params {
    fn sort_lines(&self) -> Result<Job> {
        if self.key_bytes.is_some() {
            return Err(Error::new(
                "--key-bytes needs --record-bytes; columns are sorted by with --key",
            ));
        }
        let keys = SortKey::parse_all(self.key.as_deref(), self.numeric, self.reverse)?;
        let format = self.table.format(keys.iter().filter_map(SortKey::column))?;
        if let [key] = &keys[..]
            && key.is_plain_line()
        {
            let (reverse, header) = (key.is_reverse(), format.header);
            let mapper = Lines { reverse, header };
            let output = LineKeys { reverse, header };
            let job = Job::new("sort", mapper).output(output);
            return Ok(if self.unique {
                job.combine(Distinct).ordered().reduce(Distinct)
            } else {
                job.sort()
            });
        }
        let payload = PayloadLines {
            positioned: self.stable || self.unique,
            // As in GNU sort, the last-resort comparison follows `--reverse`, not the flags of the
            // keys.
            inverted: self.reverse && !self.stable && !self.unique,
        };
        let job = Job::new("sort", Rows(KeyedLines::new(format, keys, payload))).output(payload);
        Ok(if self.unique { job.combine(First).ordered().reduce(First) } else { job.sort() })
    }

    fn sort_records(&self, bytes: NonZeroUsize) -> Result<Job> {
        if self.key.is_some() || self.numeric {
            return Err(Error::new(
                "--record-bytes sorts by --key-bytes: --key and --numeric are for lines",
            ));
        }
        let key = records::parse_range(self.key_bytes.as_deref(), bytes.get())?;
        let positioned = self.stable || self.unique;
        let output = RecordOutput { key_start: key.start, reverse: self.reverse, positioned };
        let job = Job::new("sort", Records { bytes, key, layout: output }).output(output);
        Ok(if self.unique { job.combine(First).ordered().reduce(First) } else { job.sort() })
    }
}

#[cfg(test)]
mod tests;
