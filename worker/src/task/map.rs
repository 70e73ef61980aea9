//! A map attempt whose pairs go to reducers: threads collect, full collectors spill, and one segment is left.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use windrow_jobs::FailureCause;
use windrow_jobs::collect::{Collected, Collector, RecordBuffer, Room};
use windrow_jobs::program::CollectorSetup;

use super::map_loop::{ChunkSink, MapLoops};
use super::plan::{InputPlan, chunk_bytes};
use super::{Attempt, Outcome, map_only, map_output};
use crate::executor::{FileRange, Finished, Stats};
use crate::memory::{Account, Reservation};
use crate::shuffle::spill::Run;

/// Collectors of a job count for at most this share of its memory. The rest is for reading, merging and fetching,
/// and for what a collector grows by while a chunk is mapped: its vectors double, and are copied.
const COLLECTORS_PERCENT: u64 = 40;

/// A collector is not asked to spill less than one part in this many of the job's memory, for each thread: runs
/// that small would cost more than they free.
const FLOOR_PARTS: u64 = 16;

/// Runs a map attempt.
pub fn run(attempt: &Attempt, input: u32, ranges: Vec<FileRange>) -> Result<Outcome, FailureCause> {
    let started = Instant::now();
    let context = &attempt.context;
    let record_bytes_max = context.record_bytes_max.max(1);
    let chunk_bytes =
        chunk_bytes(&ranges, attempt.memory.limit_bytes(), attempt.threads).min(record_bytes_max);
    let format = attempt.program.input_format(input);
    let mut plan = InputPlan::new(ranges, chunk_bytes, format, context.lossy);
    plan.record_bytes_max = record_bytes_max;
    let setup = CollectorSetup {
        partitions: context.partitions,
        input,
        split_points: Arc::clone(&context.split_points),
    };
    let mut outcome = match (attempt.program.is_map_only(), context.partitions) {
        (true, _) => map_only::run(attempt, &plan, setup)?,
        (false, 0) => {
            return Err(FailureCause::Unsupported {
                message: format!("{} reduces, but has no partitions", attempt.context.job),
            });
        }
        (false, _) => run_to_segment(attempt, &plan, setup)?,
    };
    outcome.finished.stats.elapsed = started.elapsed();
    Ok(outcome)
}

fn run_to_segment(
    attempt: &Attempt,
    plan: &InputPlan,
    setup: CollectorSetup,
) -> Result<Outcome, FailureCause> {
    let stop = AtomicBool::new(false);
    let limit_bytes = attempt.memory.limit_bytes();
    let collectors = attempt.memory.child(limit_bytes / 100 * COLLECTORS_PERCENT);
    let floor_bytes = limit_bytes / (FLOOR_PARTS * attempt.threads as u64);
    let (totals, left) = MapLoops { attempt, plan, setup, stop: &stop }
        .run(|| PairSink::new(attempt, &collectors, floor_bytes))?;
    let output = map_output::write(attempt, left)?;
    let stats = Stats {
        input_records: totals.records,
        input_bytes: totals.bytes,
        output_records: output.records,
        output_bytes: output.bytes,
        counters: totals.counters,
        ..Stats::default()
    };
    Ok(Outcome { finished: Finished { stats, part: None }, file: output.file })
}

/// What one thread of a map task has collected.
pub struct Pairs {
    /// What was still in memory; not sorted.
    pub buffer: RecordBuffer,
    /// What was not.
    pub runs: Vec<Run>,
    /// Counts the buffer for as long as it lives.
    pub _reservation: Reservation,
}

/// Watches one collector's memory and spills it.
struct PairSink<'a> {
    attempt: &'a Attempt,
    runs: Vec<Run>,
    reservation: Reservation,
    floor_bytes: u64,
}

impl<'a> PairSink<'a> {
    fn new(attempt: &'a Attempt, memory: &Account, floor_bytes: u64) -> Self {
        Self { attempt, runs: Vec::new(), reservation: memory.reserve(0), floor_bytes }
    }
}

impl Room for PairSink<'_> {
    fn grow(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        if self.reservation.try_resize(bytes) {
            return true;
        }
        let is_small = bytes <= self.floor_bytes;
        if is_small {
            self.reservation.resize(bytes);
        }
        is_small
    }

    fn spill(&mut self, pairs: RecordBuffer) -> Result<(), FailureCause> {
        if !pairs.is_empty() {
            self.runs.push(self.attempt.scratch.spill(pairs)?);
        }
        self.reservation.resize(0);
        Ok(())
    }
}

impl ChunkSink for PairSink<'_> {
    type Left = Pairs;

    fn after_chunk(
        &mut self,
        _chunk: usize,
        _collector: &mut dyn Collector,
    ) -> Result<(), FailureCause> {
        Ok(())
    }

    fn finish(mut self, collector: &mut dyn Collector) -> Result<Pairs, FailureCause> {
        let buffer = take(collector)?;
        self.reservation.resize(buffer.memory_bytes() as u64);
        Ok(Pairs { buffer, runs: self.runs, _reservation: self.reservation })
    }
}

fn take(collector: &mut dyn Collector) -> Result<RecordBuffer, FailureCause> {
    match collector.take()? {
        Collected::Pairs(buffer) => Ok(buffer),
        Collected::Text { .. } => unreachable!("a job that reduces collects pairs"),
    }
}
