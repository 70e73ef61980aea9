//! The loop that each thread of a map task runs: take a chunk, read it, map it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;
use windrow_jobs::collect::{Collector, CollectorSetup, MemoryBudget};
use windrow_jobs::{Audit, Counters, FailureCause};

use super::Attempt;
use super::bad_records::BadRecordsFile;
use super::chunk::ChunkReader;
use super::dealer::{Dealer, Order};
use super::plan::InputPlan;

/// The destination of the collected pairs or lines of one thread.
pub trait ChunkSink: MemoryBudget + Send {
    /// The thread's result.
    type Left: Send;

    /// Called before each chunk is mapped; does nothing by default.
    fn before_chunk(&mut self, chunk: usize) {
        let _ = chunk;
    }

    /// Called after the chunk numbered `chunk` has been mapped; does nothing by default.
    fn after_chunk(
        &mut self,
        chunk: usize,
        collector: &mut dyn Collector,
    ) -> Result<(), FailureCause> {
        let _ = (chunk, collector);
        Ok(())
    }

    /// Takes the rest of the collector's content after the last chunk.
    fn finish(self, collector: &mut dyn Collector) -> Result<Self::Left, FailureCause>;
}

/// The counts of all threads together.
#[derive(Default)]
pub struct Totals {
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The user's counters.
    pub counters: Counters,
    /// See [`Collector::emitted`].
    pub emitted: Option<Audit>,
}

/// The failure of a loop, and the chunk at which it failed.
struct Failed {
    chunk: usize,
    cause: Box<FailureCause>,
}

impl Failed {
    fn at(chunk: usize, cause: FailureCause) -> Self {
        Self { chunk, cause: Box::new(cause) }
    }

    /// Whether a record or user code has failed. Then an earlier chunk may have such a failure,
    /// too. Any other failure, as of a disk, would only repeat itself.
    fn is_of_record(&self) -> bool {
        let is_of_record = matches!(
            *self.cause,
            FailureCause::UserError { .. }
                | FailureCause::UserPanic { .. }
                | FailureCause::RecordTooLong { .. }
        );
        is_of_record && self.chunk != usize::MAX
    }
}

/// All loops of one task.
pub struct MapLoops<'a> {
    /// The attempt.
    pub attempt: &'a Attempt,
    /// Its chunks.
    pub plan: &'a InputPlan,
    /// Settings of the collectors.
    pub setup: CollectorSetup,
    /// Takes the bad records, where the job skips them.
    pub bad_records: Option<&'a BadRecordsFile>,
    /// The order in which threads take the chunks.
    pub order: Order,
    /// Set when one loop has failed and the others are to stop.
    pub stop: &'a AtomicBool,
}

/// What loops that run at the same time share.
struct Shared {
    dealer: Dealer,
    /// The first chunk at which a loop has failed: only those before it are still of interest.
    first_failed: AtomicUsize,
}

impl MapLoops<'_> {
    /// Maps all chunks on all threads. Of several failures, the one of the first chunk is returned,
    /// so that a bad record is reported the same way each time: a loop that maps earlier chunks
    /// goes on for that, and the others stop.
    pub fn run<S: ChunkSink>(
        &self,
        sink: impl Fn() -> S + Sync,
    ) -> Result<(Totals, Vec<S::Left>), FailureCause> {
        let loops = self.attempt.threads.min(self.plan.len()).max(1);
        let dealer = Dealer::new(self.plan.len(), loops, self.order);
        let shared = Shared { dealer, first_failed: AtomicUsize::new(usize::MAX) };
        let results: Vec<_> = (0..loops)
            .into_par_iter()
            .with_max_len(1)
            .map(|thread| {
                let result = self.run_one(sink(), thread, &shared);
                if let Err(failed) = &result {
                    shared.first_failed.fetch_min(failed.chunk, Ordering::Relaxed);
                    let has_earlier = self.order == Order::Runs && failed.is_of_record();
                    self.stop.fetch_or(!has_earlier, Ordering::Relaxed);
                }
                result
            })
            .collect();
        let mut totals = Totals::default();
        let mut left = Vec::new();
        let mut failures = Vec::new();
        for result in results {
            match result {
                Ok((mine, sink)) => {
                    totals.add(&mine);
                    left.push(sink);
                }
                Err(failure) => failures.push(failure),
            }
        }
        // A loop that only stopped because another failed reports nothing.
        let first = failures
            .into_iter()
            .min_by_key(|failed| (*failed.cause == FailureCause::Cancelled, failed.chunk));
        first.map_or(Ok((totals, left)), |failed| Err(*failed.cause))
    }

    fn run_one<S: ChunkSink>(
        &self,
        mut sink: S,
        thread: usize,
        shared: &Shared,
    ) -> Result<(Totals, S::Left), Failed> {
        let Attempt { program, memory, .. } = self.attempt;
        let mut collector = Arc::clone(program).collector(&self.setup);
        let mut reader = ChunkReader::new(self.plan);
        let mut reader_memory = memory.reserve(0);
        let mut totals = Totals::default();
        while !self.stop.load(Ordering::Relaxed)
            && let Some(chunk) = shared.dealer.take(thread)
        {
            if chunk > shared.first_failed.load(Ordering::Relaxed) {
                continue;
            }
            sink.before_chunk(chunk);
            self.map_chunk(chunk, &mut reader, &mut *collector, &mut sink, &mut totals)
                .and_then(|()| self.put_in_quarantine(chunk, &mut *collector))
                .and_then(|()| sink.after_chunk(chunk, &mut *collector))
                .map_err(|cause| Failed::at(chunk, cause))?;
            reader_memory.resize(reader.memory_bytes());
        }
        let last = |cause| Failed::at(usize::MAX, cause);
        reader.finish().map_err(last)?;
        totals.counters = collector.take_counters();
        let left = sink.finish(&mut *collector).map_err(last)?;
        totals.emitted = collector.emitted();
        Ok((totals, left))
    }

    fn map_chunk(
        &self,
        index: usize,
        reader: &mut ChunkReader<'_>,
        collector: &mut dyn Collector,
        room: &mut dyn MemoryBudget,
        totals: &mut Totals,
    ) -> Result<(), FailureCause> {
        self.attempt.check()?;
        let mut large = None;
        let chunk = reader.read(index, &mut || {
            if large.is_none() {
                large = Some(self.attempt.enter_large()?);
            }
            Ok(())
        })?;
        if chunk.bytes.is_empty() {
            return Ok(());
        }
        // Not held while reading or waiting for other threads: only for work that keeps a core
        // busy.
        let core = self.attempt.cores.take();
        let records = collector.map_chunk(&chunk, room)?;
        drop(core);
        let bytes = chunk.bytes.len() as u64;
        self.attempt.progress.add(records, bytes);
        totals.records += records;
        totals.bytes += bytes;
        reader.forget_large();
        drop(large);
        Ok(())
    }
}

impl MapLoops<'_> {
    fn put_in_quarantine(
        &self,
        chunk: usize,
        collector: &mut dyn Collector,
    ) -> Result<(), FailureCause> {
        let Some(bad_records) = self.bad_records else { return Ok(()) };
        bad_records.put(chunk, collector.take_skipped(), || {
            if self.stop.load(Ordering::Relaxed) {
                // Another thread has failed, and its failure is reported.
                return Err(FailureCause::Cancelled);
            }
            self.attempt.check()
        })
    }
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.counters.merge(&other.counters);
        if let Some(emitted) = other.emitted {
            self.emitted.get_or_insert_default().merge(emitted);
        }
    }
}
