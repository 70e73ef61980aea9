//! `dedup`: each line once, or one line for each key.

use serde::{Deserialize, Serialize};

use super::first::{First, PositionedLines, position_bytes};
use super::table::{Grouped, KeyPlan, Row, RowMapper, Rows, Scratch, Separator, TableArgs};
use crate::input::{Delimited, Header};
use crate::prelude::*;

/// Keeps the first of the lines with equal keys, in input order. The output is ordered by key
/// within each part; for an order across all parts see `sort --unique`. Headers are dropped.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run dedup --by 1 ..
/// let params = r#"{"by":"1","table":{"delimiter":",","header":"auto","no_quotes":false}}"#;
/// let file = ("a.csv", "rye,1\nhay,2\nrye,3\n");
/// assert_eq!(testing::run(&ready::dedup(), params, &[file])?, "hay,2\nrye,1\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn dedup() -> Job {
    Job::with_params("dedup", |params: &Params| {
        let by = Grouped::parse(Some(params.by.as_deref().unwrap_or("0")))?;
        let format = params.table.format_by(&by, [])?;
        Ok(if by == Grouped::ByLine {
            let mapper = WholeLines { header: format.header };
            Job::new("dedup", mapper).combine(Distinct).reduce(Distinct)
        } else {
            let mapper = Rows(KeyedLines { format, by });
            Job::new("dedup", mapper).combine(First).output(PositionedLines).reduce(First)
        })
    })
    .with_about("Keep the first line of each key, or each line once")
}

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Columns of the key, by number or name, such as '2' or 'city,street' [default: the whole
    /// line]
    #[arg(long, value_name = "COLUMNS")]
    by: Option<String>,

    #[command(flatten)]
    table: TableArgs,
}

struct WholeLines {
    header: bool,
}

impl Mapper for WholeLines {
    type Input = Located<LineBytes>;
    type Key = [u8];
    type Value = ();

    #[inline]
    fn map(&self, line: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<[u8], ()>) -> Result<()> {
        if self.header && line.offset == 0 { Ok(()) } else { out.emit(line.record, ()) }
    }
}

struct KeyedLines {
    format: Delimited,
    by: Grouped,
}

impl RowMapper for KeyedLines {
    type Key = [u8];
    type Value = [u8];
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
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<()> {
        scratch.value.clear();
        scratch.value.extend_from_slice(&position_bytes(row.position));
        scratch.value.extend_from_slice(row.fields.line());
        out.emit(
            plan.key(row.fields, Separator::new(b'\t', &self.format), &mut scratch.key)?,
            &scratch.value,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    const FILES: [(&str, &str); 2] =
        [("b", "k,v\nrye,9\nhay,1\nrye,1\n"), ("a", "v,k\n0,hay\n7,oats\n")];

    #[test]
    fn the_first_in_input_order_wins() {
        assert_eq!(run(&dedup(), &["--by", "k"], &FILES), "hay,1\n7,oats\nrye,9\n");
        assert_eq!(
            run(&dedup(), &["--by", "1,2", "--header"], &FILES),
            "0,hay\n7,oats\nhay,1\nrye,1\nrye,9\n"
        );
    }

    #[test]
    fn equal_lines_are_kept_once() {
        let files = [("a", "x\ny\r\nx\n"), ("b", "y\nz")];
        assert_eq!(run(&dedup(), &[], &files), "x\ny\nz\n");
        assert_eq!(run(&dedup(), &["--header"], &files), "x\ny\nz\n");
        assert_eq!(run(&dedup(), &["--header"], &files[1..]), "z\n");
    }
}
