//! The input of a map task, cut into chunks that its threads take one after the other.
//!
//! Chunks are cut by arithmetic alone; the records of a chunk are those that start in it, as with
//! splits. So no thread waits for another to find the end of a record. In a format that has units,
//! each unit is a chunk.

use std::ops::Range;

use windrow_jobs::InputRange;
use windrow_jobs::input::{FoundUnits, Unit};
use windrow_jobs::program::InputFormat;

/// Smallest chunk, unless its range is smaller: each chunk costs a read, and some bytes of the
/// plan.
pub const CHUNK_BYTES_MIN: u64 = 64 << 10;

/// Largest chunk: large enough for the disk, small enough for the cache and for cancellation.
const CHUNK_BYTES_MAX: u64 = 4 << 20;

/// With fewer chunks for each thread, one thread would often finish long after the others.
const CHUNKS_PER_THREAD: u64 = 4;

/// For each thread, a chunk is at most one part in this many of the memory: its pairs are only
/// accounted for when it has been mapped, may well be ten times its size, and double a vector that
/// is full.
const MEMORY_PARTS: u64 = 128;

/// All chunks of a task, numbered in input order.
pub struct InputPlan {
    /// How records are separated.
    pub format: InputFormat,
    /// Replace invalid UTF-8.
    pub lossy: bool,
    /// Size of chunks.
    pub chunk_bytes: u64,
    /// Size of the largest record that is read.
    pub record_bytes_max: u64,
    ranges: Vec<InputRange>,
    chunks: Vec<ChunkRange>,
    /// The unit that each chunk is, in a format that has units; otherwise empty.
    units: Vec<Unit>,
    /// What the units of each range need, likewise.
    headers: Vec<Box<[u8]>>,
}

/// Part of a range; the last chunk of a range may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Index of the range.
    pub range: usize,
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
}

/// A good chunk size for this much input, memory and threads.
pub fn chunk_bytes(ranges: &[InputRange], memory_bytes: u64, threads: usize) -> u64 {
    let threads = threads as u64;
    let input_bytes: u64 = ranges.iter().map(InputRange::bytes).sum();
    let even = input_bytes / (threads * CHUNKS_PER_THREAD);
    let affordable = memory_bytes / (threads * MEMORY_PARTS);
    even.min(affordable).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}

impl InputPlan {
    /// Cuts `ranges` into chunks.
    pub fn new(
        ranges: Vec<InputRange>,
        chunk_bytes: u64,
        format: InputFormat,
        lossy: bool,
    ) -> Self {
        let mut chunks = Vec::new();
        for (index, InputRange { range, .. }) in ranges.iter().enumerate() {
            let mut start = range.start;
            if !format.framing.cuts_files() {
                // The record belongs to the range in which it begins, and needs no more chunks.
                let end = range.end.min(chunk_bytes);
                chunks.extend((start == 0).then_some(ChunkRange { range: index, start, end }));
                continue;
            }
            while start < range.end {
                let end = range.end.min(start.saturating_add(chunk_bytes));
                chunks.push(ChunkRange { range: index, start, end });
                start = end;
            }
        }
        Self {
            format,
            lossy,
            chunk_bytes,
            record_bytes_max: u64::MAX,
            ranges,
            chunks,
            units: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// A chunk for each unit that was found in each of the ranges.
    pub fn of_units(
        ranges: Vec<InputRange>,
        found: Vec<FoundUnits>,
        chunk_bytes: u64,
        format: InputFormat,
        lossy: bool,
    ) -> Self {
        let mut plan = Self::new(Vec::new(), chunk_bytes, format, lossy);
        for (range, FoundUnits { units, header, .. }) in found.into_iter().enumerate() {
            let chunk = |unit: &Unit| {
                let Range { start, end } = unit.range();
                ChunkRange { range, start, end }
            };
            plan.chunks.extend(units.iter().map(chunk));
            plan.units.extend(units);
            plan.headers.push(header);
        }
        Self { ranges, ..plan }
    }

    /// The chunk of this number and the range that it is part of.
    pub fn chunk(&self, index: usize) -> (ChunkRange, &InputRange) {
        let chunk = self.chunks[index];
        (chunk, &self.ranges[chunk.range])
    }

    /// The unit that the chunk of this number is, and what it needs of its file.
    pub fn unit(&self, index: usize) -> Option<(&Unit, &[u8])> {
        let unit = self.units.get(index)?;
        Some((unit, &self.headers[self.chunks[index].range]))
    }

    /// Memory of the units.
    pub fn units_bytes(&self) -> u64 {
        self.units.iter().map(Unit::memory_bytes).sum()
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }
}
