//! `count`, `sum`, `min`, `max` and `mean`: a number for each key.

use serde::{Deserialize, Serialize};

use super::table::{Grouped, KeyPlan, Row, RowMapper, Rows, Scratch, Separator, TableArgs};
use crate::input::{Column, Delimited, Header, write_quoted};
use crate::prelude::*;
use crate::value::Decimal;

/// Counts records by key. Output: `key<TAB>count`, or one number without `--by`. `--by 0` counts
/// lines like `uniq -c`: quotes have no meaning, and blank lines count.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run count --by 2 ..
/// let params = r#"{"by":"2","table":{"delimiter":",","header":"auto","no_quotes":false}}"#;
/// let text = testing::run(&ready::count(), params, &[("a.csv", "1,hay\n2,rye\n3,hay\n")])?;
/// assert_eq!(text, "hay\t2\nrye\t1\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn count() -> Job {
    Job::with_params("count", |params: &CountParams| {
        let by = Grouped::parse(params.by.as_deref())?;
        let format = params.table.format_by(&by, [])?;
        let output = KeyedNumbers::new(&by, &format);
        let mapper = Rows(Numbers { format, by, measure: One });
        Ok(Job::new("count", mapper).combine(Sum).output(output).reduce(Sum))
    })
    .with_about("Count the records, of all or of each key")
}

/// Sums up a column by key, exactly. Output: `key<TAB>sum`, or one number without `--by`.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run sum --by crop --column tons ..
/// let table = r#""table":{"delimiter":",","header":"auto","no_quotes":false}"#;
/// let params = format!(r#"{{"by":"crop","column":"tons",{table}}}"#);
/// let file = ("a.csv", "tons,crop\n0.1,hay\n2,rye\n0.2,hay\n");
/// assert_eq!(testing::run(&ready::sum(), &params, &[file])?, "hay\t0.3\nrye\t2\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn sum() -> Job {
    column_job("sum", "Add up a column, exactly, by key", |name, numbers, output| {
        Job::new(name, Rows(numbers)).combine(Sum).output(output).reduce(Sum)
    })
}

/// The smallest number of a column by key. Output: `key<TAB>number`, or one number without `--by`.
pub fn min() -> Job {
    column_job("min", "Find the smallest number of a column, by key", |name, numbers, output| {
        Job::new(name, Rows(numbers)).combine(Min).output(output).reduce(Min)
    })
}

/// The largest number of a column by key. Output: `key<TAB>number`, or one number without `--by`.
pub fn max() -> Job {
    column_job("max", "Find the largest number of a column, by key", |name, numbers, output| {
        Job::new(name, Rows(numbers)).combine(Max).output(output).reduce(Max)
    })
}

/// The mean of a column by key: the exact sum, divided once, as a float. Output: `key<TAB>mean`, or
/// one number without `--by`.
pub fn mean() -> Job {
    column_job("mean", "Find the mean of a column, by key", |name, numbers, output| {
        let Numbers { format, by, measure: InColumn(column) } = numbers;
        let numbers = Numbers { format, by, measure: Counted(column) };
        Job::new(name, Rows(numbers)).combine(Means).output(output).reduce(Means)
    })
}

#[derive(clap::Args, Serialize, Deserialize)]
struct CountParams {
    /// Columns of the key, by number or name, such as '2' or 'city,street'; '0' is the whole line
    /// [default: count all records together]
    #[arg(long, value_name = "COLUMNS")]
    by: Option<String>,

    #[command(flatten)]
    table: TableArgs,
}

#[derive(clap::Args, Serialize, Deserialize)]
struct ColumnParams {
    /// Columns of the key, by number or name, such as '2' or 'city,street'; '0' is the whole line
    /// [default: take all records together]
    #[arg(long, value_name = "COLUMNS")]
    by: Option<String>,

    /// Column with the numbers, by number or name
    #[arg(long, value_name = "COLUMN")]
    column: String,

    #[command(flatten)]
    table: TableArgs,
}

fn column_job(
    name: &'static str,
    about: &str,
    end: impl Fn(&str, Numbers<InColumn>, KeyedNumbers) -> Job + Send + Sync + 'static,
) -> Job {
    Job::with_params(name, move |params: &ColumnParams| {
        let by = Grouped::parse(params.by.as_deref())?;
        let column = params.column.parse()?;
        let format = params.table.format_by(&by, [&column])?;
        let output = KeyedNumbers::new(&by, &format);
        Ok(end(name, Numbers { format, by, measure: InColumn(column) }, output))
    })
    .with_about(about)
}

/// The value that is aggregated of each row.
trait Measure: Send + Sync + 'static {
    type Value: Value;

    /// The column of the value.
    fn column(&self) -> Option<&Column>;

    /// The value of a row; `index` is the column's.
    fn value(row: &Row<'_>, index: usize) -> Result<<Self::Value as Value>::Ref<'static>>;
}

/// 1.
struct One;

/// The number in a column.
struct InColumn(Column);

/// The number in a column, and 1.
struct Counted(Column);

impl Measure for One {
    type Value = u64;

    fn column(&self) -> Option<&Column> {
        None
    }

    #[inline]
    fn value(_row: &Row<'_>, _index: usize) -> Result<u64> {
        Ok(1)
    }
}

impl Measure for InColumn {
    type Value = Decimal;

    fn column(&self) -> Option<&Column> {
        Some(&self.0)
    }

    #[inline]
    fn value(row: &Row<'_>, index: usize) -> Result<Decimal> {
        row.fields.number(index).map_err(|error| perhaps_header(row, error))
    }
}

impl Measure for Counted {
    type Value = (Decimal, u64);

    fn column(&self) -> Option<&Column> {
        Some(&self.0)
    }

    #[inline]
    fn value(row: &Row<'_>, index: usize) -> Result<(Decimal, u64)> {
        Ok((InColumn::value(row, index)?, 1))
    }
}

/// A field of the first line that is not a number may be the name of a column.
#[cold]
fn perhaps_header(row: &Row<'_>, error: Error) -> Error {
    // A byte order mark may come before it.
    if row.position.offset <= 3 && row.fields.header().line().is_empty() {
        Error::new(format!("{error} (is it a header? then say --header)"))
    } else {
        error
    }
}

/// Emits a value for each row's key.
struct Numbers<M> {
    format: Delimited,
    by: Grouped,
    measure: M,
}

impl<M: Measure> RowMapper for Numbers<M> {
    type Key = [u8];
    type Value = M::Value;
    type Plan = (KeyPlan, usize);

    fn format(&self) -> Delimited {
        self.format
    }

    fn plan(&self, header: &Header<'_>) -> Result<(KeyPlan, usize)> {
        let index = self.measure.column().map_or(Ok(0), |column| column.index(header))?;
        Ok((self.by.plan(header)?, index))
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
        out: &mut impl Emit<[u8], M::Value>,
    ) -> Result<()> {
        let value = M::value(row, *index)?;
        out.emit(key.key(row.fields, Separator::new(b'\t', &self.format), &mut scratch.key)?, value)
    }
}

/// Sums up sums and counts.
struct Means;

impl Combiner<(Decimal, u64)> for Means {
    type Accumulator = (Decimal, u64);

    fn start(&self, value: (Decimal, u64)) -> Result<(Decimal, u64)> {
        Ok(value)
    }

    #[inline]
    fn add(&self, total: &mut (Decimal, u64), (sum, count): (Decimal, u64)) -> Result<()> {
        total.1 += count;
        Combiner::<Decimal>::add(&Sum, &mut total.0, sum)
    }

    fn finish(&self, total: &(Decimal, u64)) -> (Decimal, u64) {
        *total
    }
}

impl Reducer<[u8], (Decimal, u64)> for Means {
    type OutputKey = [u8];
    type OutputValue = f64;

    fn reduce(
        &self,
        key: &[u8],
        values: &mut Values<'_, (Decimal, u64)>,
        out: &mut impl Emit<[u8], f64>,
    ) -> Result<()> {
        let mut total = (Decimal::ZERO, 0);
        while let Some(value) = values.next()? {
            self.add(&mut total, value)?;
        }
        out.emit(key, total.0.to_f64() / total.1 as f64)
    }
}

/// `key<TAB>number`, or only the number if all rows are aggregated together.
#[derive(Clone, Copy)]
pub(super) struct KeyedNumbers {
    with_key: bool,
    /// Whether the key is the text of a single column that may contain a TAB, so that it is quoted
    /// like a key of several columns.
    quotes: bool,
}

impl KeyedNumbers {
    pub(super) fn new(by: &Grouped, format: &Delimited) -> Self {
        let is_bare = matches!(by, Grouped::By(columns) if columns.len() == 1);
        Self { with_key: *by != Grouped::Together, quotes: is_bare && format.quotes }
    }
}

impl<V: Value> TextOutput<[u8], V> for KeyedNumbers {
    fn write(&self, key: &[u8], value: V::Ref<'_>, out: &mut Vec<u8>) -> Result<()> {
        if !self.with_key {
            return TextOutput::<[u8], V>::write(&ValueLines, key, value, out);
        }
        let start = out.len();
        if self.quotes {
            write_quoted(key, b'\t', out);
        } else {
            out.extend_from_slice(key);
        }
        out.push(b'\t');
        TextOutput::<[u8], V>::write(&ValueLines, key, value, out)
            .inspect_err(|_| out.truncate(start))
    }
}

#[cfg(test)]
mod tests;
