//! An inverted index: a set of files, one bit each, for each word, in a table for each core.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::Path;

use foldhash::fast::FixedState;

use super::output::Output;
use super::table::{ShortKey, Table};
use super::words::for_each_word;
use super::{Input, Result, Turns, on_all_cores, open, pieces};

const PIECE_BYTES: usize = 4 << 20;

/// Words of up to 15 bytes inline, longer ones as slices of the input.
struct Sets<'a> {
    short: Table<2, true>,
    long: HashMap<&'a [u8], u64, FixedState>,
}

pub fn run(input: &Path, output: &Path) -> Result<()> {
    let inputs = open(input)?;
    if inputs.len() > u64::BITS as usize {
        return Err("a set has a bit for each of 64 files at most".into());
    }
    let pieces = pieces(&inputs, PIECE_BYTES);
    let turns = Turns::new(pieces.len());
    let sets = on_all_cores(|_| {
        let mut sets = Sets { short: Table::new(1 << 14)?, long: HashMap::default() };
        for piece in turns.take() {
            let path = pieces[piece].path;
            let file = inputs.iter().position(|input| input.path == path).unwrap_or_default();
            add(pieces[piece].bytes, 1 << file, &mut sets)?;
        }
        sets.short.flush()?;
        Ok(sets)
    })?;
    on_all_cores(|core| write_merged(&sets, &inputs, core, output))?;
    // The memory is freed with the process.
    std::mem::forget(sets);
    Ok(())
}

fn add<'a>(text: &'a [u8], file: u64, sets: &mut Sets<'a>) -> Result<()> {
    let mut outcome = Ok(());
    for_each_word(text, |start, end| match ShortKey::load(text, start, end) {
        Some(key) => {
            if let Err(error) = sets.short.add(key, file) {
                outcome = Err(error);
            }
        }
        None => *sets.long.entry(&text[start..end]).or_default() |= file,
    });
    outcome
}

/// Merges and writes the words of one core.
fn write_merged(sets: &[Sets<'_>], inputs: &[Input], core: usize, output: &Path) -> Result<()> {
    let cores = sets.len() as u64;
    let mine = |hash: u64| ((hash >> 32) * cores) >> 32 == core as u64;
    let most = sets.iter().map(|one| one.short.len()).max().unwrap_or(0);
    let mut merged = Table::<2, true>::new(most)?;
    let mut merged_long: HashMap<&[u8], u64, FixedState> = HashMap::default();
    for one in sets {
        for (key, files) in one.short.iter().filter(|(key, _)| mine(key.hash())) {
            merged.add(key, files)?;
        }
        for (key, files) in
            one.long.iter().filter(|(key, _)| mine(FixedState::default().hash_one(key)))
        {
            *merged_long.entry(key).or_default() |= files;
        }
    }
    merged.flush()?;
    let mut out = Output::create(output, core)?;
    for (key, files) in merged.iter() {
        key.with_bytes(|key| write(&mut out, key, files, inputs))?;
    }
    for (key, files) in merged_long {
        write(&mut out, key, files, inputs)?;
    }
    out.finish()
}

fn write(out: &mut Output, key: &[u8], files: u64, inputs: &[Input]) -> Result<()> {
    out.bytes(key)?;
    let mut before = b"\t";
    for (file, input) in inputs.iter().enumerate() {
        if files >> file & 1 == 1 {
            out.bytes(before)?;
            out.bytes(input.path.as_os_str().as_encoded_bytes())?;
            before = b",";
        }
    }
    out.bytes(b"\n")
}
