//! A map attempt whose pairs go to reducers: threads collect, full collectors spill, and the
//! result is one output, in memory or as a segment file.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use windrow_jobs::collect::{Collected, Collector, CollectorSetup, MemoryBudget, RecordBuffer};
use windrow_jobs::input::Framing;
use windrow_jobs::{Emitted, FailureCause, InputRange, hash_key};

use super::bad_records::BadRecordsFile;
use super::dealer::Order;
use super::map_loop::{ChunkSink, MapLoops};
use super::map_output::{Pairs, SpillFile};
use super::plan::{CHUNK_BYTES_MIN, InputPlan, chunk_bytes};
use super::{Attempt, Outcome, map_only, map_output, units};
use crate::memory::Reservation;
use crate::model::{Finished, Stats};

/// The pairs of one attempt take up at most this share of the job's memory: two attempts overlap.
const COLLECTORS_PERCENT: u64 = 40;

/// Largest chunk of a job that skips bad records: the bad records of a chunk are held in memory.
const SKIPPING_CHUNK_BYTES_MAX: u64 = 256 << 10;

/// A collector must hold at least one part in this many of the job's memory, for each thread,
/// before it spills: smaller runs would cost more than they free.
const FLOOR_PARTS: u64 = 16;

/// Runs a map attempt.
pub fn run(
    attempt: &Attempt,
    input: u32,
    ranges: Vec<InputRange>,
) -> Result<Outcome, FailureCause> {
    let started = Instant::now();
    let context = &attempt.context;
    let record_bytes_max = context.record_bytes_max.max(1);
    check_input(attempt, input)?;
    let bad_records = BadRecordsFile::of(attempt)?;
    let mut chunk_bytes = chunk_bytes(&ranges, attempt.memory.limit_bytes(), attempt.threads)
        .min(record_bytes_max.max(CHUNK_BYTES_MIN));
    if bad_records.is_some() {
        chunk_bytes = chunk_bytes.min(SKIPPING_CHUNK_BYTES_MAX);
    }
    let format = attempt.program.input_format(input);
    let mut plan = match format.framing {
        Framing::Units => units::plan(attempt, input, ranges, format)?,
        _ => InputPlan::new(ranges, chunk_bytes, format, context.lossy),
    };
    plan.record_bytes_max = record_bytes_max;
    let _units = attempt.memory.reserve(plan.units_bytes());
    let setup = CollectorSetup {
        partitions: context.partitions,
        input,
        split_points: Arc::clone(&context.split_points),
        bad_records: attempt.bad_records.clone(),
        // The location was not known when the input was written, so input cannot be built to
        // collide.
        seed: hash_key(context.staging.as_str().as_bytes()),
    };
    let mut outcome = match (attempt.program.is_map_only(), context.partitions) {
        (true, _) => map_only::run(attempt, &plan, setup, bad_records.as_ref())?,
        (false, 0) => {
            return Err(FailureCause::Unsupported {
                message: format!("{} reduces, but has no partitions", attempt.context.job),
            });
        }
        (false, _) => run_to_segment(attempt, &plan, setup, bad_records.as_ref())?,
    };
    if let Some(bad_records) = bad_records {
        bad_records.finish(&mut outcome)?;
    }
    outcome.finished.stats.elapsed = started.elapsed();
    Ok(outcome)
}

/// The number of an input comes from the coordinator, which knows the job's code only from its
/// submitter.
fn check_input(attempt: &Attempt, input: u32) -> Result<(), FailureCause> {
    let inputs = attempt.program.input_names().len().max(1);
    if (input as usize) < inputs {
        return Ok(());
    }
    let job = &attempt.context.job;
    let message = format!("{job} has {inputs} inputs here, and was submitted with more");
    Err(FailureCause::Unsupported { message })
}

fn run_to_segment(
    attempt: &Attempt,
    plan: &InputPlan,
    setup: CollectorSetup,
    bad_records: Option<&BadRecordsFile>,
) -> Result<Outcome, FailureCause> {
    let stop = AtomicBool::new(false);
    let limit_bytes = attempt.memory.limit_bytes();
    let memory = attempt.pairs.child(limit_bytes / 100 * COLLECTORS_PERCENT);
    let floor_bytes = limit_bytes / (FLOOR_PARTS * attempt.threads as u64);
    let spilled = SpillFile::default();
    // The bad records of a chunk wait for those of earlier ones.
    let order = if bad_records.is_some() { Order::Input } else { Order::Runs };
    let loops = MapLoops { attempt, plan, setup, bad_records, order, stop: &stop };
    let (totals, collected) = loops.run(|| PairSink {
        attempt,
        spilled: &spilled,
        reservation: memory.reserve(0),
        floor_bytes,
        reuses_buffers: !attempt.program.has_combiner(),
    })?;
    let output = map_output::finish(attempt, collected, spilled, &memory)?;
    let stats = Stats {
        input_records: totals.records,
        input_bytes: totals.bytes,
        output_records: output.records,
        output_bytes: output.bytes,
        counters: totals.counters,
        audit: output.audit,
        emitted: totals.emitted.map(|keys| Emitted { keys, is_partial: output.is_partial }),
        ..Stats::default()
    };
    let finished = Finished { stats, ..Finished::default() };
    Ok(Outcome { finished, left: output.left, bad_records: None })
}

/// Accounts for one collector's memory and spills it.
struct PairSink<'a> {
    attempt: &'a Attempt,
    spilled: &'a SpillFile,
    reservation: Reservation,
    floor_bytes: u64,
    /// Whether collectors reuse the buffers that they have filled: combining collectors make new
    /// ones each time.
    reuses_buffers: bool,
}

impl MemoryBudget for PairSink<'_> {
    fn grow(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        if self.attempt.try_resize(&mut self.reservation, bytes) {
            return true;
        }
        let is_small = bytes <= self.floor_bytes;
        if is_small {
            self.reservation.resize(bytes);
        }
        is_small
    }

    fn spill(&mut self, pairs: RecordBuffer) -> Result<RecordBuffer, FailureCause> {
        let mut emptied = self.spilled.spill(&self.attempt.scratch, pairs)?;
        if !self.reuses_buffers {
            emptied = RecordBuffer::new(emptied.partitions());
        }
        self.reservation.resize(emptied.memory_bytes() as u64);
        Ok(emptied)
    }
}

impl ChunkSink for PairSink<'_> {
    type Left = Pairs;

    fn finish(mut self, collector: &mut dyn Collector) -> Result<Pairs, FailureCause> {
        let buffer = match collector.take()? {
            Collected::Pairs(buffer) => buffer,
            Collected::Output { .. } => unreachable!("a job that reduces collects pairs"),
        };
        self.reservation.resize(buffer.memory_bytes() as u64);
        Ok(Pairs { buffer, reservation: self.reservation })
    }
}
