//! A map attempt whose pairs go to reducers: threads collect, full collectors spill, and one segment is left.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use windrow_jobs::FailureCause;
use windrow_jobs::collect::{Collected, Collector, RecordBuffer};

use super::map_loop::{ChunkSink, MapLoops};
use super::plan::{InputPlan, chunk_bytes};
use super::{Attempt, Outcome, map_only, map_output};
use crate::executor::{FileRange, Finished, Stats};
use crate::memory::{Account, Reservation};
use crate::shuffle::segment::Segment;

/// Collectors of a job count for at most this share of its memory. The rest is for reading, merging and fetching,
/// and for what a collector grows by while a chunk is mapped: its vectors double, and are copied.
const COLLECTORS_PERCENT: u64 = 40;

/// A collector is not asked to spill less than one part in this many of the job's memory, for each thread: runs
/// that small would cost more than they free.
const FLOOR_PARTS: u64 = 16;

/// Runs a map attempt.
pub fn run(attempt: &Attempt, ranges: Vec<FileRange>) -> Result<Outcome, FailureCause> {
    let started = Instant::now();
    let chunk_bytes = chunk_bytes(&ranges, attempt.memory.limit_bytes(), attempt.threads);
    let framing = attempt.program.framing();
    let plan = InputPlan::new(ranges, chunk_bytes, framing, attempt.context.lossy);
    let mut outcome = match (attempt.program.is_map_only(), attempt.context.partitions) {
        (true, _) => map_only::run(attempt, &plan)?,
        (false, 0) => {
            return Err(FailureCause::Unsupported {
                message: format!("{} reduces, but has no partitions", attempt.context.job),
            });
        }
        (false, _) => run_to_segment(attempt, &plan)?,
    };
    outcome.finished.stats.elapsed = started.elapsed();
    Ok(outcome)
}

fn run_to_segment(attempt: &Attempt, plan: &InputPlan) -> Result<Outcome, FailureCause> {
    let stop = AtomicBool::new(false);
    let limit_bytes = attempt.memory.limit_bytes();
    let collectors = attempt.memory.child(limit_bytes / 100 * COLLECTORS_PERCENT);
    let floor_bytes = limit_bytes / (FLOOR_PARTS * attempt.threads as u64);
    let (totals, left) = MapLoops { attempt, plan, stop: &stop }
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
    pub runs: Vec<Segment>,
    /// Counts the buffer for as long as it lives.
    pub _reservation: Reservation,
}

/// Watches one collector's memory and spills it.
struct PairSink<'a> {
    attempt: &'a Attempt,
    runs: Vec<Segment>,
    reservation: Reservation,
    floor_bytes: u64,
}

impl<'a> PairSink<'a> {
    fn new(attempt: &'a Attempt, memory: &Account, floor_bytes: u64) -> Self {
        Self { attempt, runs: Vec::new(), reservation: memory.reserve(0), floor_bytes }
    }
}

impl ChunkSink for PairSink<'_> {
    type Left = Pairs;

    fn after_chunk(
        &mut self,
        _chunk: usize,
        collector: &mut dyn Collector,
        reader_bytes: u64,
    ) -> Result<(), FailureCause> {
        let collected_bytes = collector.memory_bytes() as u64;
        if self.reservation.try_resize(collected_bytes + reader_bytes) {
            return Ok(());
        }
        self.reservation.resize(collected_bytes + reader_bytes);
        if collected_bytes > self.floor_bytes {
            let buffer = take(collector)?;
            if !buffer.is_empty() {
                let _core = self.attempt.cores.take();
                self.runs.push(self.attempt.scratch.spill(buffer)?);
            }
            self.reservation.resize(collector.memory_bytes() as u64 + reader_bytes);
        }
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
