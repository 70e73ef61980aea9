//! Sorts records of 100 bytes in memory by their 10-byte keys.
//!
//! Sorts only keys and record numbers, range by range, so that a range fits the cache; records move
//! once, from the mapped input to the output.

use std::path::Path;

use super::output::Output;
use super::splitters::{RECORD_BYTES, Splitters, key};
use super::{Input, Result, Turns, on_all_cores, open, threads};

const RANGES: usize = 1024;
const SAMPLE: usize = 1 << 16;
const PIECE_RECORDS: usize = 40_000;
/// How many records ahead to prefetch.
const AHEAD: usize = 24;

/// An 80-bit key, then the record's number in 32 bits.
type Entry = u128;

pub fn run(input: &Path, output: &Path) -> Result<()> {
    let inputs = open(input)?;
    let records = Records::new(&inputs);
    let splitters = Splitters::new(records.sample(), RANGES);
    let entries = scatter(&records, &splitters)?;
    let total = records.starts.last().copied().unwrap_or(0);
    on_all_cores(|core| {
        let mut out = Output::create(output, core)?;
        let mut sorted: Vec<Entry> = Vec::new();
        for range in ranges_of_core(&entries, total, core) {
            sorted.clear();
            sorted.extend(entries.iter().flat_map(|of_thread| &of_thread[range]));
            sorted.sort_unstable();
            gather(&sorted, &records, &mut out)?;
        }
        out.finish()
    })?;
    std::mem::forget(entries);
    Ok(())
}

/// The records of all files, numbered.
struct Records<'a> {
    inputs: &'a [Input],
    /// The number of each file's first record, and the number of all records at the end.
    starts: Vec<usize>,
}

impl<'a> Records<'a> {
    fn new(inputs: &'a [Input]) -> Self {
        let mut starts = vec![0];
        for input in inputs {
            starts.push(starts[starts.len() - 1] + input.bytes.len() / RECORD_BYTES);
        }
        Self { inputs, starts }
    }

    #[inline(always)]
    fn get(&self, number: usize) -> &'a [u8] {
        let file = self.starts[1..].partition_point(|&start| start <= number);
        let at = (number - self.starts[file]) * RECORD_BYTES;
        &self.inputs[file].bytes[at..at + RECORD_BYTES]
    }

    fn sample(&self) -> Vec<u128> {
        let total = self.starts[self.inputs.len()];
        let count = SAMPLE.min(total);
        (0..count)
            .map(|n| key(self.get((n as u128 * total as u128 / count as u128) as usize)))
            .collect()
    }

    /// Cuts the records into ranges of numbers within one file.
    fn pieces(&self) -> Vec<std::ops::Range<usize>> {
        let cut = |bounds: &[usize]| {
            let (start, end) = (bounds[0], bounds[1]);
            let piece = move |at: usize| at..(at + PIECE_RECORDS).min(end);
            (start..end).step_by(PIECE_RECORDS).map(piece)
        };
        self.starts.windows(2).flat_map(cut).collect()
    }
}

/// The entries of each range, by thread.
fn scatter(records: &Records<'_>, splitters: &Splitters) -> Result<Vec<Vec<Vec<Entry>>>> {
    let pieces = records.pieces();
    let turns = Turns::new(pieces.len());
    let total = records.starts[records.inputs.len()];
    let room = total / splitters.ranges / threads() * 5 / 4 + 16;
    on_all_cores(|_| {
        let mut ranges: Vec<Vec<Entry>> =
            (0..splitters.ranges).map(|_| Vec::with_capacity(room)).collect();
        for piece in turns.take() {
            let first = pieces[piece].start;
            let file = records.starts[1..].partition_point(|&start| start <= first);
            let at = (first - records.starts[file]) * RECORD_BYTES;
            let bytes = &records.inputs[file].bytes[at..][..pieces[piece].len() * RECORD_BYTES];
            for (n, record) in bytes.as_chunks::<RECORD_BYTES>().0.iter().enumerate() {
                let key = key(record);
                ranges[splitters.range(key)].push(key << 32 | (first + n) as u128);
            }
        }
        Ok(ranges)
    })
}

/// Neighbouring ranges with about one core's share of all records.
fn ranges_of_core(entries: &[Vec<Vec<Entry>>], total: usize, core: usize) -> Vec<usize> {
    let mut before = 0;
    let mut mine = Vec::new();
    for range in 0..RANGES {
        if before * threads() / total.max(1) == core {
            mine.push(range);
        }
        before += entries.iter().map(|of_thread| of_thread[range].len()).sum::<usize>();
    }
    mine
}

/// Writes the records in the order of their entries.
fn gather(sorted: &[Entry], records: &Records<'_>, out: &mut Output) -> Result<()> {
    let number = |entry: Entry| entry as u32 as usize;
    let mut ring = [&[][..]; AHEAD];
    for (n, &entry) in sorted.iter().enumerate() {
        let record = records.get(number(entry));
        prefetch(record);
        if n >= AHEAD {
            out.bytes(ring[n % AHEAD])?;
        }
        ring[n % AHEAD] = record;
    }
    for n in sorted.len().saturating_sub(AHEAD)..sorted.len() {
        out.bytes(ring[n % AHEAD])?;
    }
    Ok(())
}

#[inline(always)]
fn prefetch(record: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for offset in [0, 64, RECORD_BYTES - 1] {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch hint, valid for any address.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(record.as_ptr().wrapping_add(offset).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = record;
}
