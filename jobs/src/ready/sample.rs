//! `sample`: a random but reproducible choice of lines.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::first::position_bytes;
use super::smallest::{Smallest, write_record};
use crate::prelude::*;

/// Size of a hash.
const HASH_BYTES: usize = size_of::<u64>();

/// Picks random lines: each with the same probability (`--rate`, output in input order), or a
/// number of them (`--count`, in random order). The choice depends only on the seed and on the
/// lines' positions in the input.
///
/// ```
/// # use windrow_jobs::{ready, testing};
/// // windrow run sample --count 2 ..
/// let params = r#"{"rate":null,"count":2,"seed":7,"header":false}"#;
/// let text = testing::run(&ready::sample(), params, &[("a.txt", "hay\nrye\noats\n")])?;
/// assert_eq!(text.lines().count(), 2);
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn sample() -> Job {
    Job::with_params("sample", |params: &Params| {
        let Params { seed, header, .. } = *params;
        let lines = Draw { seed, header };
        match (params.rate, params.count) {
            (Some(rate), None) if (0.0..=1.0).contains(&rate) => {
                Ok(Job::new("sample", Share { lines, rate }).map_only())
            }
            (Some(rate), None) => Err(Error::new(format!("bad --rate {rate}: it is from 0 to 1"))),
            (None, Some(records)) => {
                let drawn = || Smallest { records, rank_bytes: |_| HASH_BYTES };
                drawn().check(HASH_BYTES)?;
                let job = Job::new("sample", Number(lines)).combine(drawn());
                Ok(job.output(ValueLines).reduce(drawn()))
            }
            _ => Err(Error::new("sample needs either --rate or --count")),
        }
    })
    .with_about("Pick random lines")
}

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Probability of each line, such as 0.01
    #[arg(long, value_name = "P", conflicts_with = "count")]
    rate: Option<f64>,

    /// Number of lines to pick; they are held in memory
    #[arg(long, value_name = "N")]
    count: Option<usize>,

    /// Seed of the choice: any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Leave out the first line of each file
    #[arg(long)]
    header: bool,
}

/// Gives each line a random number.
struct Draw {
    seed: u64,
    header: bool,
}

impl Draw {
    /// The random number of a line; `None` for a header.
    #[inline]
    fn number(&self, line: &LocatedRecord<'_, &[u8]>) -> Option<u64> {
        if self.header && line.offset == 0 {
            return None;
        }
        let place = position_bytes(line.position());
        Some(xxh3_64_with_seed(&place, self.seed))
    }
}

/// Picks each line with a probability.
struct Share {
    lines: Draw,
    rate: f64,
}

impl Mapper for Share {
    type Input = Located<LineBytes>;
    type Key = [u8];
    type Value = ();

    fn map(&self, line: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<[u8], ()>) -> Result<()> {
        // 2^64 times the rate; only a rate of 1 saturates.
        let below = (self.rate * 2_f64.powi(64)) as u64;
        let is_drawn = |number| number < below || self.rate >= 1.0;
        if self.lines.number(&line).is_some_and(is_drawn) {
            out.emit(line.record, ())
        } else {
            Ok(())
        }
    }
}

/// Picks a number of lines: those with the smallest random numbers.
struct Number(Draw);

impl Mapper for Number {
    type Input = Located<LineBytes>;
    type Key = [u8];
    type Value = [u8];

    fn map(&self, line: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<[u8], [u8]>) -> Result<()> {
        let Some(number) = self.0.number(&line) else { return Ok(()) };
        let record = [&number.to_be_bytes(), line.record].concat();
        let mut set = Vec::with_capacity(record.len() + 4);
        write_record(&record, &mut set);
        out.emit(&[], &set)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::{error, run};
    use super::*;

    fn numbers() -> String {
        (0..10_000).map(|n| format!("{n}\n")).collect()
    }

    #[test]
    fn a_rate_picks_about_its_share_in_order() {
        let (text, flags) = (numbers(), ["--rate", "0.1"]);
        let picked = run(&sample(), &flags, &[("a", &text)]);
        let lines: Vec<u32> = picked.lines().map(|line| line.parse().unwrap()).collect();
        assert!((900..1100).contains(&lines.len()), "{}", lines.len());
        assert!(lines.is_sorted());
        assert_eq!(run(&sample(), &flags, &[("renamed", &text)]), picked);
        assert_ne!(run(&sample(), &["--rate", "0.1", "--seed", "1"], &[("a", &text)]), picked);
        assert_eq!(run(&sample(), &["--rate", "1"], &[("a", &text)]), text);
        assert_eq!(run(&sample(), &["--rate", "0"], &[("a", &text)]), "");
    }

    #[test]
    fn a_number_of_lines_is_exact() {
        let text = numbers();
        let picked = run(&sample(), &["--count", "100", "--header"], &[("a", &text)]);
        let lines: BTreeSet<u32> = picked.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(lines.len(), 100);
        assert!(!lines.contains(&0));
        let mean = lines.iter().sum::<u32>() / 100;
        assert!((4_000..6_000).contains(&mean), "{mean}");
        assert_eq!(run(&sample(), &["--count", "3"], &[("a", "x\n")]), "x\n");
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(error(&sample(), &[], &[]), "job sample: sample needs either --rate or --count");
        assert_eq!(
            error(&sample(), &["--rate", "2"], &[]),
            "job sample: bad --rate 2: it is from 0 to 1"
        );
    }
}
