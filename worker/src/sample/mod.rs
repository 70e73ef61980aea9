//! Cuts the output of an ordered job into ranges, by a sample of its map output.
//!
//! ```text
//!  pieces of the input, cut at records
//!        | the job's own mapper, each pair once for so many bytes of pairs
//!        v
//!    SplitPoints::from_sample
//! ```
//!
//! The coordinator chooses the pieces, since it has listed the files. They are read and mapped by
//! the job's own code, so the submitter does that: code that hangs or dies harms nobody else. Small
//! inputs are read whole. The same files give the same points on any machine. Records that cannot
//! be read or mapped are skipped: the map task will report them. Units are read whole, and as many
//! of them as do not take long.

mod records;
mod units;

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use windrow_jobs::collect::{Collected, CollectorSetup, RecordBuffer, Unlimited};
use windrow_jobs::input::{Chunk, Framing};
use windrow_jobs::pairs::RecordRef;
use windrow_jobs::partitioning::{Partitioning, SampledPair, SplitPoints};
use windrow_jobs::program::Program;
use windrow_jobs::user_code::BadRecordPolicy;
use windrow_jobs::{InputRange, SamplePiece, hash_key};

use crate::input::{self, Input};
use records::records;
use units::UnitSampler;

/// Strata are read in this many groups, on a thread each. A constant, so that the result does not
/// depend on the machine.
const GROUPS: usize = 4;
/// Most pairs drawn for each partition.
const PAIRS_PER_PARTITION: u64 = 4_000;
/// Bytes kept of all points of a job, so that they fit into a message: with very many partitions,
/// less is kept of each side.
const POINTS_BYTES_MAX: usize = 16 << 20;
/// Approximate overhead of a pair beside key and value.
const PAIR_OVERHEAD_BYTES: u64 = 8;

/// The split points that cut the output of the ordered job `program` into `partitions` ranges of
/// about the same size in bytes. Reads the pieces, about 8 MiB; blocks.
pub fn sample_ranges(
    pieces: &[SamplePiece],
    program: &Arc<dyn Program>,
    partitions: u32,
) -> SplitPoints {
    match program.partitioning() {
        Partitioning::Ranges { within_keys } if partitions > 1 => {
            split_points(pieces, program, partitions, within_keys)
        }
        _ => SplitPoints::default(),
    }
}

fn split_points(
    pieces: &[SamplePiece],
    program: &Arc<dyn Program>,
    partitions: u32,
    within_keys: bool,
) -> SplitPoints {
    let strata: Vec<_> = pieces.chunk_by(|a, b| a.stratum == b.stratum).collect();
    let pairs_max =
        (PAIRS_PER_PARTITION * u64::from(partitions)).div_ceil(strata.len().max(1) as u64);
    let sample_group = |strata: &[&[SamplePiece]]| {
        let pieces = strata.iter().map(|pieces| pieces.len()).sum();
        let mut sampler = Sampler::new(program, pieces, pairs_max, side_bytes_max(partitions));
        strata.iter().copied().flatten().for_each(|piece| sampler.read(piece));
        sampler.drawn
    };
    let drawn: Vec<SampledPair> = std::thread::scope(|scope| {
        let groups = strata.chunks(strata.len().div_ceil(GROUPS).max(1));
        let threads: Vec<_> = groups.map(|group| scope.spawn(|| sample_group(group))).collect();
        // The collector catches panics of user code; our own must not be lost.
        threads
            .into_iter()
            .flat_map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    SplitPoints::from_sample(drawn, partitions, within_keys)
}

/// Reads pieces, and samples their pairs.
struct Sampler<'a> {
    program: &'a Arc<dyn Program>,
    /// Most pairs sampled from a piece.
    pairs_max: u64,
    side_bytes_max: usize,
    open: Option<Opened>,
    units: UnitSampler,
    buffer: Vec<u8>,
    /// Hashes of keys that were met. A task would combine equal keys, so each counts once.
    combined: HashSet<u64>,
    drawn: Vec<SampledPair>,
}

struct Opened {
    number: u32,
    input: Box<dyn Input>,
    header: Vec<u8>,
}

impl<'a> Sampler<'a> {
    /// A sampler of so many pieces.
    fn new(
        program: &'a Arc<dyn Program>,
        pieces: usize,
        pairs_max: u64,
        side_bytes_max: usize,
    ) -> Self {
        Self {
            program,
            pairs_max,
            side_bytes_max,
            open: None,
            units: UnitSampler::new(pieces),
            buffer: Vec::new(),
            combined: HashSet::new(),
            drawn: Vec::new(),
        }
    }

    /// Samples the records that begin in `piece`; none if it cannot be read.
    fn read(&mut self, piece: &SamplePiece) {
        if let Some(pairs) = self.map(piece) {
            self.draw(&pairs);
        }
    }

    fn map(&mut self, piece: &SamplePiece) -> Option<RecordBuffer> {
        let format = self.program.input_format(piece.input);
        let InputRange { location, file_number, range, version } = &piece.range;
        if self.open.as_ref().is_none_or(|open| open.number != *file_number) {
            self.open = None;
            let input = input::open(location, version).ok()?;
            let mut header = Vec::new();
            if format.has_header && format.framing != Framing::Units {
                let bytes = version.bytes();
                let first = records(&*input, bytes, format.framing, 0..1, &mut self.buffer)?;
                header.extend_from_slice(&self.buffer[first.in_buffer]);
            }
            self.open = Some(Opened { number: *file_number, input, header });
        }
        let open = self.open.as_ref()?;
        let unit;
        let mut chunk = if format.framing == Framing::Units {
            unit = self.units.next(&**self.program, piece, &*open.input, &mut self.buffer)?;
            let mut chunk = Chunk::new(location.as_str(), &self.buffer);
            (chunk.offset, chunk.unit) = (unit.range().start, unit.descriptor());
            chunk.header = self.units.header();
            chunk
        } else {
            let (framing, range) = (format.framing, range.clone());
            let found = records(&*open.input, version.bytes(), framing, range, &mut self.buffer)?;
            let mut chunk = Chunk::new(location.as_str(), &self.buffer[found.in_buffer]);
            (chunk.offset, chunk.header) = (found.offset, &open.header);
            chunk
        };
        chunk.file_number = *file_number;
        // The map task decides whether invalid UTF-8 or another bad record is an error.
        chunk.lossy = true;
        let setup = CollectorSetup {
            partitions: 1,
            input: piece.input,
            bad_records: BadRecordPolicy { skips_bad_records: true, ..BadRecordPolicy::default() },
            seed: std::hash::RandomState::new().hash_one(self.buffer.len()),
            ..CollectorSetup::default()
        };
        let mut collector = Arc::clone(self.program).collector(&setup);
        collector.map_chunk(&chunk, &mut Unlimited).ok()?;
        match collector.take().ok()? {
            Collected::Pairs(mut pairs) => {
                pairs.sort();
                Some(pairs)
            }
            Collected::Output { .. } => None,
        }
    }

    /// Samples one pair for every so many bytes.
    fn draw(&mut self, pairs: &RecordBuffer) {
        let combines = self.program.has_combiner();
        let bytes: u64 = all(pairs).map(weight).sum();
        let step = bytes.div_ceil(self.pairs_max).max(1);
        let mut passed = step / 2;
        for pair in all(pairs) {
            if combines && !self.combined.insert(hash_key(pair.key)) {
                continue;
            }
            let before = passed / step;
            passed += weight(pair);
            let times = passed / step - before;
            if times > 0 {
                let kept = |side: &[u8]| side[..side.len().min(self.side_bytes_max)].to_vec();
                let (key, value) = (kept(pair.key), kept(pair.value));
                self.drawn.push(SampledPair { key, value, weight: times * step });
            }
        }
    }
}

/// All pairs: there is one partition.
fn all(pairs: &RecordBuffer) -> impl Iterator<Item = RecordRef<'_>> {
    (0..pairs.partition_len(0)).map(|index| pairs.get(0, index))
}

fn weight(pair: RecordRef<'_>) -> u64 {
    (pair.key.len() + pair.value.len()) as u64 + PAIR_OVERHEAD_BYTES
}

fn side_bytes_max(partitions: u32) -> usize {
    SplitPoints::SIDE_BYTES_MAX.min(POINTS_BYTES_MAX / 2 / partitions.max(1) as usize)
}

#[cfg(test)]
mod tests;
