//! Word count: a table for each core, merged by ranges of the hash.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::Path;

use foldhash::fast::FixedState;

use super::output::Output;
use super::table::{ShortKey, Table};
use super::words::for_each_word;
use super::{Result, Turns, on_all_cores, open, pieces};

const PIECE_BYTES: usize = 4 << 20;

/// Words of up to 15 bytes inline, longer ones as slices of the input.
struct Counts<'a> {
    short: Table<2>,
    long: HashMap<&'a [u8], u64, FixedState>,
}

pub fn run(input: &Path, output: &Path) -> Result<()> {
    let inputs = open(input)?;
    let pieces = pieces(&inputs, PIECE_BYTES);
    let turns = Turns::new(pieces.len());
    let counts = on_all_cores(|_| {
        let mut counts = Counts { short: Table::new(1 << 14)?, long: HashMap::default() };
        for piece in turns.take() {
            count(pieces[piece].bytes, &mut counts)?;
        }
        counts.short.flush()?;
        Ok(counts)
    })?;
    on_all_cores(|core| write_merged(&counts, core, output))?;
    // The memory is freed with the process.
    std::mem::forget(counts);
    Ok(())
}

fn count<'a>(text: &'a [u8], counts: &mut Counts<'a>) -> Result<()> {
    let mut outcome = Ok(());
    for_each_word(text, |start, end| match ShortKey::load(text, start, end) {
        Some(key) => {
            if let Err(error) = counts.short.add(key, 1) {
                outcome = Err(error);
            }
        }
        None => *counts.long.entry(&text[start..end]).or_default() += 1,
    });
    outcome
}

/// Merges and writes the words of one core.
fn write_merged(counts: &[Counts<'_>], core: usize, output: &Path) -> Result<()> {
    let cores = counts.len() as u64;
    let mine = |hash: u64| ((hash >> 32) * cores) >> 32 == core as u64;
    // Enough to avoid growing, unless cores have seen very different words.
    let most = counts.iter().map(|one| one.short.len()).max().unwrap_or(0);
    let mut merged = Table::<2>::new(most)?;
    let mut merged_long: HashMap<&[u8], u64, FixedState> = HashMap::default();
    for one in counts {
        for (key, n) in one.short.iter().filter(|(key, _)| mine(key.hash())) {
            merged.add(key, n)?;
        }
        for (key, n) in one.long.iter().filter(|(key, _)| mine(FixedState::default().hash_one(key)))
        {
            *merged_long.entry(key).or_default() += n;
        }
    }
    merged.flush()?;
    let mut out = Output::create(output, core)?;
    for (key, n) in merged.iter() {
        key.with_bytes(|key| out.count(key, n))?;
    }
    for (key, n) in merged_long {
        out.count(key, n)?;
    }
    out.finish()
}
