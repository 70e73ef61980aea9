//! `join`: joins the rows of two tables with equal keys.

mod rows;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::table::{Grouped, Rows, TableArgs};
use crate::prelude::*;
use rows::{JoinRows, Side};

/// Joins two tables, the inputs `left` and `right`, by columns. Output, ordered by key within each
/// part: the columns of the key, then the other columns of the left row, then those of the right
/// row, in the format of the inputs. Each left row is joined with each right row of its key; the
/// left rows of one key are held in memory, at most 64 MiB. As in the `join` command, an empty key
/// is a key like any other: rows with empty keys are joined. Headers are dropped.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run join --by 1 --input left=farms.csv --input right=crops.csv ..
/// let table = r#""table":{"delimiter":",","header":"auto","no_quotes":false}"#;
/// let columns = r#""left_columns":null,"right_columns":null"#;
/// let params = format!(r#"{{"by":"1","right_by":null,"kind":"inner",{columns},{table}}}"#);
/// let text = testing::run_inputs(&ready::join(), &params, &[
///     &[("farms.csv", "7,Greenfield\n8,Hayfield\n")],
///     &[("crops.csv", "7,oats\n7,rye\n")],
/// ])?;
/// assert_eq!(text, "7,Greenfield,oats\n7,Greenfield,rye\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn join() -> Job {
    Job::with_params("join", |params: &Params| {
        let left_by = keys(&params.by)?;
        let right_by = keys(params.right_by.as_deref().unwrap_or(&params.by))?;
        if left_by.columns().len() != right_by.columns().len() {
            return Err(Error::new("--by and --right-by must name the same number of columns"));
        }
        let format = params.table.format(left_by.columns().iter().chain(right_by.columns()))?;
        let key_columns = left_by.columns().len();
        let reducer = JoinRows {
            format,
            one_column: key_columns == 1,
            left_padding: params.left_padding(key_columns, format.delimiter)?,
            right_padding: params.right_padding(key_columns, format.delimiter)?,
        };
        let left = Side { format, by: left_by, columns: params.left_columns };
        let right = Side { format, by: right_by, columns: params.right_columns };
        let job = Job::join("join").input("left", Rows(left)).input("right", Rows(right));
        Ok(job.reduce(reducer))
    })
    .with_about("Join two tables, the inputs 'left' and 'right', by key columns")
}

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Columns of the key, by number or name, such as '2' or 'city,street'; empty keys match each
    /// other
    #[arg(long, value_name = "COLUMNS")]
    by: String,

    /// Columns of the key in the right table [default: the columns of --by]
    #[arg(long, value_name = "COLUMNS")]
    right_by: Option<String>,

    /// Which rows without a partner to keep
    #[arg(long, value_enum, default_value = "inner")]
    kind: Kind,

    /// Number of columns of the left table, to be left empty where it has no row (right and full
    /// joins)
    #[arg(long, value_name = "N")]
    left_columns: Option<usize>,

    /// Number of columns of the right table, to be left empty where it has no row (left and full
    /// joins)
    #[arg(long, value_name = "N")]
    right_columns: Option<usize>,

    #[command(flatten)]
    table: TableArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// None
    Inner,
    /// Rows of the left table
    Left,
    /// Rows of the right table
    Right,
    /// Rows of both tables
    Full,
}

impl Params {
    /// The empty columns for a missing left row; `None` if right rows without a partner are
    /// dropped.
    fn left_padding(&self, key_columns: usize, delimiter: u8) -> Result<Option<Vec<u8>>> {
        if matches!(self.kind, Kind::Inner | Kind::Left) {
            return Ok(None);
        }
        padding("left", self.left_columns, key_columns, delimiter).map(Some)
    }

    /// The empty columns for a missing right row; `None` if left rows without a partner are
    /// dropped.
    fn right_padding(&self, key_columns: usize, delimiter: u8) -> Result<Option<Vec<u8>>> {
        if matches!(self.kind, Kind::Inner | Kind::Right) {
            return Ok(None);
        }
        padding("right", self.right_columns, key_columns, delimiter).map(Some)
    }
}

fn keys(list: &str) -> Result<Grouped> {
    match Grouped::parse(Some(list))? {
        Grouped::ByLine => Err(Error::new("there is no column 0: they are counted from 1")),
        by => Ok(by),
    }
}

fn padding(
    side: &str,
    columns: Option<usize>,
    key_columns: usize,
    delimiter: u8,
) -> Result<Vec<u8>> {
    let Some(columns) = columns else {
        let message = format!(
            "this kind of join needs --{side}-columns: how many are left empty where the {side} table has no row"
        );
        return Err(Error::new(message));
    };
    let others = columns.checked_sub(key_columns).ok_or_else(|| {
        Error::new(format!("--{side}-columns {columns} is less than the key has"))
    })?;
    Ok(vec![delimiter; others])
}

#[cfg(test)]
mod tests;
