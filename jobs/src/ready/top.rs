//! `top`: the records with the largest numbers.

use serde::{Deserialize, Serialize};

use super::smallest::{Smallest, write_record};
use super::sort::number;
use super::table::{Grouped, KeyPlan, Row, RowMapper, Rows, Scratch, Separator, TableArgs};
use crate::input::{Column, Delimited, Header};
use crate::prelude::*;

/// Finds the records with the largest (or smallest) numbers in a column, of all records or of each
/// key, the best first. Lines with equal numbers are ordered by their bytes. Output: the lines;
/// headers are dropped.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run top --column 2 --count 2 ..
/// let table = r#""table":{"delimiter":",","header":"auto","no_quotes":false}"#;
/// let params = format!(r#"{{"column":"2","count":2,"smallest":false,"by":null,{table}}}"#);
/// let file = ("a.csv", "hay,9\nrye,10\noats,1.5\n");
/// assert_eq!(testing::run(&ready::top(), &params, &[file])?, "rye,10\nhay,9\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn top() -> Job {
    Job::with_params("top", |params: &Params| {
        let by = Grouped::parse(params.by.as_deref())?;
        let column = params.column.parse()?;
        let format = params.table.format_by(&by, [&column])?;
        let best = || Smallest { records: params.count, rank_bytes: number::len };
        best().check(RECORD_BYTES_MIN)?;
        let mapper = Rows(Ranked { format, by, column, smallest: params.smallest });
        Ok(Job::new("top", mapper).combine(best()).output(ValueLines).reduce(best()))
    })
    .with_about("Find the records with the largest numbers in a column")
}

/// A number and its line.
const RECORD_BYTES_MIN: usize = 2;

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Column with the numbers, by number or name
    #[arg(long, value_name = "COLUMN")]
    column: String,

    /// How many records to find (of each key); they are held in memory
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    count: usize,

    /// Find the smallest numbers
    #[arg(long)]
    smallest: bool,

    /// Columns of the key, by number or name [default: take all records together]
    #[arg(long, value_name = "COLUMNS")]
    by: Option<String>,

    #[command(flatten)]
    table: TableArgs,
}

struct Ranked {
    format: Delimited,
    by: Grouped,
    column: Column,
    smallest: bool,
}

impl RowMapper for Ranked {
    type Key = [u8];
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

    fn map_row(
        &self,
        (key, index): &(KeyPlan, usize),
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<()> {
        let number = row.fields.number(*index)?;
        let mut record = Vec::with_capacity(row.fields.line().len() + 16);
        number::write(number.to_string().as_bytes(), &mut record);
        if !self.smallest {
            record.iter_mut().for_each(|byte| *byte = !*byte);
        }
        record.extend_from_slice(row.fields.line());
        scratch.value.clear();
        write_record(&record, &mut scratch.value);
        out.emit(
            key.key(row.fields, Separator::new(b'\t', &self.format), &mut scratch.key)?,
            &scratch.value,
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{error, run};
    use super::*;

    #[test]
    fn the_best_of_each_key() {
        let files = [("a", "k,n\na,1e1\nb,-3\na,9.99\nb,-20\n"), ("b", "n,k\n10.0,a\n")];
        assert_eq!(
            run(&top(), &["--column", "n", "--by", "k", "-n", "2"], &files),
            "10.0,a\na,1e1\nb,-3\nb,-20\n"
        );
        assert_eq!(run(&top(), &["--column", "n", "--smallest", "-n1"], &files), "b,-20\n");
        assert_eq!(error(&top(), &["--column", "1"], &files), "a at byte 0: 'k' is not a number");
        let refused = error(&top(), &["--column", "1", "-n", "400000000"], &[]);
        assert!(refused.starts_with("job top: the 400000000 records to be kept"), "{refused}");
    }

    proptest! {
        #[test]
        fn like_sorting_and_cutting(numbers in proptest::collection::vec(-20..20_i32, 0..30), count in 0..10_usize) {
            let text: String = numbers.iter().map(|n| format!("{n}\n")).collect();
            let mut expected = numbers;
            expected.sort_by(|a, b| b.cmp(a));
            expected.truncate(count);
            let expected: String = expected.iter().map(|n| format!("{n}\n")).collect();
            let count = count.to_string();
            prop_assert_eq!(run(&top(), &["--column", "1", "-n", &count], &[("a", &text)]), expected);
        }
    }
}
