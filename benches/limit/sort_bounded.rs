//! The same sort within a budget: records go to one file for each range, and each file is sorted in
//! memory.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::output::Output;
use super::splitters::{RECORD_BYTES, Splitters, key};
use super::{Result, Turns, on_all_cores, paths, threads};

const ENTRY_BYTES: usize = 16;
const PIECE_BYTES: usize = 10_000 * RECORD_BYTES;
const SAMPLE_A_FILE: usize = 8192;
/// Most memory for buffers of the files.
const BUFFER_BYTES_MAX: usize = 256 << 10;

pub fn run(input: &Path, output: &Path, memory_bytes: usize) -> Result<()> {
    let files: Vec<File> = paths(input)?.iter().map(File::open).collect::<std::io::Result<_>>()?;
    let lengths: Vec<usize> = files
        .iter()
        .map(|file| Ok(file.metadata()?.len() as usize))
        .collect::<std::io::Result<_>>()?;
    let total: usize = lengths.iter().sum();
    // Each core holds one range with its entries, in half of the budget.
    let range_bytes = total / RECORD_BYTES * (RECORD_BYTES + ENTRY_BYTES);
    let ranges = (range_bytes * threads() * 2 / memory_bytes + 1).clamp(threads(), 4096);
    let splitters = Splitters::new(sample(&files, &lengths)?, ranges);
    let folder = output.join("_ranges");
    fs::create_dir(&folder)?;
    let names: Vec<PathBuf> = (0..ranges).map(|n| folder.join(n.to_string())).collect();
    scatter(&files, &lengths, &splitters, &names, memory_bytes)?;
    on_all_cores(|core| {
        let mine = ranges * core / threads()..ranges * (core + 1) / threads();
        sort_ranges(&names[mine], Output::create(output, core)?)
    })?;
    Ok(fs::remove_dir(folder)?)
}

fn sample(files: &[File], lengths: &[usize]) -> Result<Vec<u128>> {
    let mut sample = Vec::new();
    for (file, length) in files.iter().zip(lengths) {
        let records = length / RECORD_BYTES;
        for n in 0..SAMPLE_A_FILE.min(records) {
            let mut record = [0; RECORD_BYTES];
            let number = n * records / SAMPLE_A_FILE.min(records);
            file.read_exact_at(&mut record, (number * RECORD_BYTES) as u64)?;
            sample.push(key(&record));
        }
    }
    Ok(sample)
}

/// Copies every record to the file of its range.
fn scatter(
    files: &[File],
    lengths: &[usize],
    splitters: &Splitters,
    names: &[PathBuf],
    memory_bytes: usize,
) -> Result<()> {
    let pieces: Vec<(&File, usize, usize)> = files
        .iter()
        .zip(lengths)
        .flat_map(|(file, &length)| {
            let piece = move |at: usize| (file, at, (at + PIECE_BYTES).min(length));
            (0..length).step_by(PIECE_BYTES).map(piece)
        })
        .collect();
    let turns = Turns::new(pieces.len());
    let to: Vec<Mutex<File>> = names
        .iter()
        .map(|name| File::create(name).map(Mutex::new))
        .collect::<std::io::Result<_>>()?;
    let write = |range: usize, bytes: &[u8]| {
        to[range].lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    };
    let room = (memory_bytes / 2 / threads() / names.len()).clamp(4096, BUFFER_BYTES_MAX);
    on_all_cores(|_| {
        let mut buffers: Vec<Vec<u8>> = names.iter().map(|_| Vec::with_capacity(room)).collect();
        let mut piece = Vec::new();
        for (file, start, end) in turns.take().map(|n| pieces[n]) {
            piece.resize(end - start, 0);
            file.read_exact_at(&mut piece, start as u64)?;
            for record in piece.as_chunks::<RECORD_BYTES>().0 {
                let range = splitters.range(key(record));
                let buffer = &mut buffers[range];
                if buffer.len() + RECORD_BYTES > room {
                    write(range, buffer)?;
                    buffer.clear();
                }
                buffer.extend_from_slice(record);
            }
        }
        for (range, buffer) in buffers.iter().enumerate() {
            write(range, buffer)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Sorts neighbouring ranges into one file, and removes them.
fn sort_ranges(names: &[PathBuf], mut out: Output) -> Result<()> {
    let mut records = Vec::new();
    let mut entries: Vec<u128> = Vec::new();
    for name in names {
        records.clear();
        std::io::Read::read_to_end(&mut File::open(name)?, &mut records)?;
        fs::remove_file(name)?;
        let records = records.as_chunks::<RECORD_BYTES>().0;
        entries.clear();
        entries.extend(records.iter().enumerate().map(|(n, record)| key(record) << 32 | n as u128));
        entries.sort_unstable();
        for &entry in &entries {
            out.bytes(&records[entry as u32 as usize])?;
        }
    }
    out.finish()
}
