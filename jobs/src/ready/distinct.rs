//! `distinct`: the distinct values of columns, or their number for each key.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::aggregate::KeyedNumbers;
use super::first::First;
use super::table::{Grouped, KeyPlan, Row, RowMapper, Rows, Scratch, Separator, TableArgs};
use crate::input::{Column, Delimited, Header};
use crate::prelude::*;

/// Lists the distinct keys; with `--column`, counts the column's distinct values for each key:
/// `key<TAB>number`, or one number without `--by`.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run distinct --by 1 --column 2 ..
/// let table = r#""table":{"delimiter":",","header":"auto","no_quotes":false}"#;
/// let params = format!(r#"{{"by":"1","column":"2",{table}}}"#);
/// let file = ("a.csv", "hay,barn\nrye,loft\nhay,loft\nhay,barn\n");
/// assert_eq!(testing::run(&ready::distinct(), &params, &[file])?, "hay\t2\nrye\t1\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn distinct() -> Job {
    Job::with_params("distinct", |params: &Params| {
        let by = Grouped::parse(params.by.as_deref())?;
        let Some(column) = &params.column else {
            if by == Grouped::Together {
                return Err(Error::new("distinct needs --by, --column or both"));
            }
            let mapper = Rows(Keys { format: params.table.format_by(&by, [])?, by });
            return Ok(Job::new("distinct", mapper).combine(Distinct).reduce(Distinct));
        };
        let column = column.parse()?;
        let format = params.table.format_by(&by, [&column])?;
        let output = KeyedNumbers::new(&by, &format);
        let job = Job::new("distinct", Rows(KeysAndValues { format, by, column }));
        Ok(job.group_by(FirstPart).combine(First).output(output).reduce(CountDifferent))
    })
    .with_about("List the distinct keys, or count the distinct values of each")
}

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Columns of the key, by number or name, such as '2' or 'city,street'; '0' is the whole line
    #[arg(long, value_name = "COLUMNS")]
    by: Option<String>,

    /// Column whose distinct values are counted, by number or name
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,

    #[command(flatten)]
    table: TableArgs,
}

struct Keys {
    format: Delimited,
    by: Grouped,
}

impl RowMapper for Keys {
    type Key = [u8];
    type Value = ();
    type Plan = KeyPlan;

    fn format(&self) -> Delimited {
        self.format
    }

    fn plan(&self, header: &Header<'_>) -> Result<KeyPlan> {
        self.by.plan(header)
    }

    fn columns(plan: &KeyPlan) -> usize {
        plan.columns()
    }

    #[inline]
    fn map_row(
        &self,
        plan: &KeyPlan,
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut impl Emit<[u8], ()>,
    ) -> Result<()> {
        out.emit(plan.key(row.fields, Separator::new(b'\t', &self.format), &mut scratch.key)?, ())
    }
}

/// Emits (key, value) as key, so that equal pairs are combined and the values of a key are
/// adjacent.
struct KeysAndValues {
    format: Delimited,
    by: Grouped,
    column: Column,
}

impl RowMapper for KeysAndValues {
    type Key = (Vec<u8>, Vec<u8>);
    type Value = [u8];
    type Plan = (KeyPlan, usize);

    fn format(&self) -> Delimited {
        self.format
    }

    fn plan(&self, header: &Header<'_>) -> Result<(KeyPlan, usize)> {
        Ok((self.by.plan(header)?, self.column.index(header)?))
    }

    fn columns((key, index): &(KeyPlan, usize)) -> usize {
        key.columns().max(index + 1)
    }

    #[inline]
    fn map_row(
        &self,
        (key, index): &(KeyPlan, usize),
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut impl Emit<(Vec<u8>, Vec<u8>), [u8]>,
    ) -> Result<()> {
        let value = row.fields.get(*index)?;
        out.emit(
            (key.key(row.fields, Separator::new(b'\t', &self.format), &mut scratch.key)?, &value),
            &value,
        )
    }
}

/// Counts the values that differ from the previous one.
struct CountDifferent;

impl Reducer<Vec<u8>, [u8]> for CountDifferent {
    type OutputKey = [u8];
    type OutputValue = u64;

    fn reduce(
        &self,
        key: Cow<'_, [u8]>,
        values: &mut Values<'_, [u8]>,
        out: &mut impl Emit<[u8], u64>,
    ) -> Result<()> {
        let (mut last, mut different) = (Vec::new(), 0);
        while let Some(value) = values.next()? {
            if different == 0 || last != value {
                different += 1;
                last.clear();
                last.extend_from_slice(value);
            }
        }
        out.emit(&key, different)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, run};
    use super::*;

    const FILES: [(&str, &str); 2] = [
        ("a.csv", "crop,farm\nhay,Hill\nrye,Hill\nhay,\n"),
        ("b.csv", "crop,farm\nhay,Hill\nhay,\"Hill\"\nhay,Dale\n"),
    ];

    #[test]
    fn keys_or_numbers_of_values() {
        assert_eq!(run(&distinct(), &["--by", "crop"], &FILES), "hay\nrye\n");
        assert_eq!(
            run(&distinct(), &["--by", "crop", "--column", "farm"], &FILES),
            "hay\t3\nrye\t1\n"
        );
        assert_eq!(run(&distinct(), &["--column", "farm"], &FILES), "3\n");
        let log = ("a.log", "\"GET /\" 200\n\n\"x\n\n");
        assert_eq!(run(&distinct(), &["--by", "0"], &[log]), "\n\"GET /\" 200\n\"x\n");
        assert_eq!(
            error(&distinct(), &[], &FILES),
            "job distinct: distinct needs --by, --column or both"
        );
    }
}
