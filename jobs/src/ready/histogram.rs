//! `histogram`: the distribution of the numbers of a column.

use serde::{Deserialize, Serialize};

use super::table::{Row, RowMapper, Rows, Scratch, TableArgs};
use crate::input::{Column, Delimited, Header};
use crate::prelude::*;
use crate::value::Decimal;

/// Counts the numbers of a column in bins of equal width, or in bins that grow by a factor. Output,
/// in order across all parts, for each bin that is not empty: `from<TAB>to<TAB>count`; a bin
/// includes its `from` but not its `to`.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run histogram --column 1 --width 0.5 ..
/// let table = r#""table":{"delimiter":",","header":"auto","no_quotes":false}"#;
/// let params = format!(r#"{{"column":"1","width":"0.5","log":null,{table}}}"#);
/// let text = testing::run(&ready::histogram(), &params, &[("a.csv", "0.1\n-0.2\n0.49\n7\n")])?;
/// assert_eq!(text, "-0.5\t0.0\t1\n0.0\t0.5\t2\n7.0\t7.5\t1\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn histogram() -> Job {
    Job::with_params("histogram", |params: &Params| {
        let column = params.column.parse()?;
        let format = params.table.format([&column])?;
        let bins = params.bins()?;
        let job = Job::new("histogram", Rows(Binned { format, column, bins })).combine(Sum);
        Ok(job.ordered().reduce(BinCounts(bins)))
    })
    .with_about("Count the numbers of a column by bins")
}

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Column with the numbers, by number or name
    #[arg(long, value_name = "COLUMN")]
    column: String,

    /// Width of a bin, such as 10 or 0.5
    #[arg(long, value_name = "WIDTH", conflicts_with = "log")]
    width: Option<String>,

    /// Bins between powers of BASE, 2 or 10; negative numbers are mirrored, and zero has its own
    /// bin
    #[arg(long, value_name = "BASE")]
    log: Option<u32>,

    #[command(flatten)]
    table: TableArgs,
}

impl Params {
    fn bins(&self) -> Result<Bins> {
        match (&self.width, self.log) {
            (Some(width), None) => {
                let width = Decimal::parse(width.as_bytes())?;
                if Decimal::ZERO.checked_div_floor(width).is_none() {
                    return Err(Error::new(format!("bad --width {width}: it is more than 0")));
                }
                Ok(Bins::Width(width))
            }
            (None, Some(base @ (2 | 10))) => Ok(Bins::Log(base)),
            (None, Some(base)) => Err(Error::new(format!("bad --log {base}: it is 2 or 10"))),
            _ => Err(Error::new("histogram needs either --width or --log")),
        }
    }
}

/// The bins, which are numbered in order.
#[derive(Clone, Copy)]
enum Bins {
    Width(Decimal),
    /// Between powers of 2 or 10.
    Log(u32),
}

/// Added to the exponent of a bin between powers, so that zero is between the positive and negative
/// bins.
const EXPONENT_BIAS: i128 = 1 << 16;

impl Bins {
    fn bin_of(self, number: Decimal) -> Result<i128> {
        match self {
            Self::Width(width) => {
                let bin = number.checked_div_floor(width);
                bin.ok_or_else(|| Error::new(format!("{number} is too large for bins of {width}")))
            }
            Self::Log(base) => {
                let exponent = if base == 2 { number.log2_floor() } else { number.log10_floor() };
                let Some(exponent) = exponent else { return Ok(0) };
                let bin = i128::from(exponent) + EXPONENT_BIAS;
                Ok(if number.is_negative() { -bin } else { bin })
            }
        }
    }

    /// `from<TAB>to` of a bin.
    fn borders(self, bin: i128) -> Result<String> {
        let too_large = || Error::new("a bin's border has more than 36 digits");
        let (from, to) = match self {
            Self::Width(width) => {
                let border = |bin| width.checked_mul(bin).ok_or_else(too_large);
                (border(bin)?.to_string(), border(bin + 1)?.to_string())
            }
            Self::Log(_) if bin == 0 => ("0".to_string(), "0".to_string()),
            Self::Log(base) => {
                let exponent = (bin.abs() - EXPONENT_BIAS) as i32;
                let (near, far) = (power(base, exponent), power(base, exponent + 1));
                if bin > 0 { (near, far) } else { (format!("-{far}"), format!("-{near}")) }
            }
        };
        Ok(format!("{from}\t{to}"))
    }
}

/// A power of 2 or 10. Exact, except that small powers of 2 with many digits are written as the
/// shortest float.
fn power(base: u32, exponent: i32) -> String {
    match u32::try_from(exponent) {
        Ok(exponent) => u128::from(base).pow(exponent).to_string(),
        Err(_) if base == 10 => {
            format!("0.{}1", "0".repeat(exponent.unsigned_abs() as usize - 1))
        }
        Err(_) => f64::from(base).powi(exponent).to_string(),
    }
}

struct Binned {
    format: Delimited,
    column: Column,
    bins: Bins,
}

impl RowMapper for Binned {
    type Key = i128;
    type Value = u64;
    type Plan = usize;

    fn format(&self) -> Delimited {
        self.format
    }

    fn plan(&self, header: &Header<'_>) -> Result<usize> {
        self.column.index(header)
    }

    fn columns(index: &usize) -> usize {
        index + 1
    }

    #[inline]
    fn map_row(
        &self,
        index: &usize,
        row: &Row<'_>,
        _scratch: &mut Scratch,
        out: &mut impl Emit<i128, u64>,
    ) -> Result<()> {
        let number = row.fields.number(*index)?;
        out.emit(self.bins.bin_of(number)?, 1)
    }
}

/// Sums up each bin, and writes its borders.
struct BinCounts(Bins);

impl Reducer<i128, u64> for BinCounts {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        bin: i128,
        counts: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        let mut total = 0;
        while let Some(count) = counts.next()? {
            total += count;
        }
        out.emit(&self.0.borders(bin)?, total)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, run};
    use super::*;

    #[test]
    fn bins_of_one_width() {
        let files = [("a", "n\n0\n9.99\n10\n-0.01\n-10\n-10.5\n")];
        let expected = "-20\t-10\t1\n-10\t0\t2\n0\t10\t2\n10\t20\t1\n";
        assert_eq!(run(&histogram(), &["--column", "n", "--width", "10"], &files), expected);
    }

    #[test]
    fn bins_that_grow() {
        let files = [("a", "0\n1\n9\n10\n1000\n0.001\n-5\n-10\n")];
        let expected = "-100\t-10\t1\n-10\t-1\t1\n0\t0\t1\n0.001\t0.01\t1\n1\t10\t2\n10\t100\t1\n1000\t10000\t1\n";
        assert_eq!(run(&histogram(), &["--column", "1", "--log", "10"], &files), expected);
        let expected = "1\t2\t1\n2\t4\t2\n4\t8\t1\n";
        assert_eq!(
            run(&histogram(), &["--column", "1", "--log", "2"], &[("a", "1\n2\n3\n4\n")]),
            expected
        );
    }

    #[test]
    fn bins_that_grow_are_exact() {
        let numbers = "9.9999999999999999999\n-9.9999999999999999999\n1e-28\n99999999999999999999999999999999999\n";
        let expected = "-10\t-1\t1\n0.0000000000000000000000000001\t0.000000000000000000000000001\t1\n\
                        1\t10\t1\n10000000000000000000000000000000000\t100000000000000000000000000000000000\t1\n";
        assert_eq!(
            run(&histogram(), &["--column", "1", "--log", "10"], &[("a", numbers)]),
            expected
        );
        let numbers = "1.9999999999999999999\n1180591620717411303424\n1180591620717411303423.9\n0.25\n0.2499999999999999999999\n";
        let expected = "0.125\t0.25\t1\n0.25\t0.5\t1\n1\t2\t1\n\
                        590295810358705651712\t1180591620717411303424\t1\n\
                        1180591620717411303424\t2361183241434822606848\t1\n";
        assert_eq!(
            run(&histogram(), &["--column", "1", "--log", "2"], &[("a", numbers)]),
            expected
        );
    }

    #[test]
    fn mistakes_are_named() {
        let needs = "job histogram: histogram needs either --width or --log";
        assert_eq!(error(&histogram(), &["--column", "1"], &[]), needs);
        let bad = "job histogram: bad --width 0: it is more than 0";
        assert_eq!(error(&histogram(), &["--column", "1", "--width", "0"], &[]), bad);
    }
}
