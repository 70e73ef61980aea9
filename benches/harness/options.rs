//! The benchmark's own flags.

use super::Result;
use super::rows::{ROWS, Row};

pub const USAGE: &str = "usage: cargo bench --bench end_to_end -- [ROW...] [--mib N] [--runs N]";

/// The rows and sizes to measure.
pub struct Options {
    pub rows: Vec<&'static Row>,
    /// Whether rows were named: then one that cannot run is an error.
    pub named: bool,
    pub mib: u64,
    pub runs: usize,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { rows: Vec::new(), named: true, mib: 256, runs: 5 };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<u64> {
                let text = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
                let number = text.parse().map_err(|error| format!("{argument} {text}: {error}"))?;
                if number == 0 {
                    Err(format!("{argument} must be at least 1").into())
                } else {
                    Ok(number)
                }
            };
            match argument.as_str() {
                "--mib" => options.mib = number()?,
                "--runs" => options.runs = usize::try_from(number()?)?,
                name => options.rows.push(row(name)?),
            }
        }
        if options.rows.is_empty() {
            options.named = false;
            options.rows = ROWS.iter().collect();
        }
        Ok(options)
    }

    /// The share of its input that a bounded job may hold in memory.
    pub fn memory_mib(&self) -> u64 {
        (self.mib / 4).max(32)
    }

    /// Half of that for the limit program, which counts less of its memory.
    pub fn limit_memory_mib(&self) -> u64 {
        self.memory_mib() / 2
    }
}

fn row(name: &str) -> Result<&'static Row> {
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
        let names = ROWS.each_ref().map(|row| row.name).join(", ");
        format!("there is no row {name}; rows: {names}\n{USAGE}").into()
    })
}
