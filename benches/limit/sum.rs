//! Sum by key in CSV without quotes: column 4 is the key, column 6 the number.

use std::path::Path;

use super::output::Output;
use super::table::{ShortKey, Table};
use super::{Result, Turns, on_all_cores, open, pieces};

const PIECE_BYTES: usize = 4 << 20;

/// Commas before the key, and between key and number.
const COMMAS_TO_KEY: usize = 3;
const COMMAS_TO_NUMBER: usize = 5;
const COLUMNS: usize = 7;

pub fn run(input: &Path, output: &Path) -> Result<()> {
    let inputs = open(input)?;
    let pieces = pieces(&inputs, PIECE_BYTES);
    let turns = Turns::new(pieces.len());
    let tables = on_all_cores(|_| {
        let mut sums = Table::<4>::new(1 << 14)?;
        for piece in turns.take() {
            add_lines(pieces[piece].bytes, &mut sums)?;
        }
        sums.flush()?;
        Ok(sums)
    })?;
    let mut tables = tables.into_iter();
    let mut sums = tables.next().ok_or("there is no core")?;
    for other in tables {
        for (key, n) in other.iter() {
            sums.add(key, n)?;
        }
    }
    sums.flush()?;
    let mut out = Output::create(output, 0)?;
    for (key, n) in sums.iter() {
        key.with_bytes(|key| out.count(key, n))?;
    }
    out.finish()
}

fn add_lines(csv: &[u8], sums: &mut Table<4>) -> Result<()> {
    let (mut column, mut start, mut key) = (0, 0, None);
    for at in memchr::memchr2_iter(b',', b'\n', csv) {
        if column == COMMAS_TO_KEY {
            key = ShortKey::load(csv, start, at);
        } else if column == COMMAS_TO_NUMBER {
            let key = key.ok_or("a key is longer than 31 bytes")?;
            sums.add(key, decimal(&csv[start..at]))?;
        }
        column = if column == COLUMNS - 1 { 0 } else { column + 1 };
        start = at + 1;
    }
    Ok(())
}

fn decimal(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |n, digit| n * 10 + u64::from(digit & 15))
}
