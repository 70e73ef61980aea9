//! A map attempt of a job without reducer: the text of its chunks, in input order, is a part.

use std::sync::atomic::{AtomicBool, Ordering};

use windrow_jobs::FailureCause;
use windrow_jobs::collect::{Collected, Collector, RecordBuffer, Room};
use windrow_jobs::program::CollectorSetup;

use super::map_loop::{ChunkSink, MapLoops};
use super::ordered::{OrderedPart, Text};
use super::output::PartWriter;
use super::plan::InputPlan;
use super::quarantine::Quarantine;
use super::{Attempt, Left, Outcome};
use crate::executor::{Finished, Stats};

/// Runs the attempt; the caller adds how long it took.
pub fn run(
    attempt: &Attempt,
    plan: &InputPlan,
    setup: CollectorSetup,
    quarantine: Option<&Quarantine>,
) -> Result<Outcome, FailureCause> {
    let stop = AtomicBool::new(false);
    let writer = PartWriter::create(attempt.part_path())?;
    let part = OrderedPart::new(writer, attempt.threads, &attempt.memory);
    let loops = MapLoops { attempt, plan, setup, quarantine, stop: &stop };
    let (totals, _) = loops.run(|| TextSink { attempt, part: &part, stop: &stop })?;
    let (writer, records) = part.finish()?;
    let (part, file) = writer.finish(records)?;
    let stats = Stats {
        input_records: totals.records,
        input_bytes: totals.bytes,
        output_records: part.records,
        output_bytes: part.bytes,
        counters: totals.counters,
        ..Stats::default()
    };
    let finished = Finished { stats, part: Some(part), quarantine: None };
    Ok(Outcome { finished, left: Left::File(file), quarantine: None })
}

/// Hands on the text of each chunk.
struct TextSink<'a> {
    attempt: &'a Attempt,
    part: &'a OrderedPart,
    stop: &'a AtomicBool,
}

/// Text is taken after each chunk, so nothing is asked for: what has no room waits then (see
/// `ordered`).
impl Room for TextSink<'_> {
    fn grow(&mut self, _bytes: usize) -> bool {
        true
    }

    fn spill(&mut self, _pairs: RecordBuffer) -> Result<RecordBuffer, FailureCause> {
        unreachable!("a map-only job collects text")
    }
}

impl ChunkSink for TextSink<'_> {
    type Left = ();

    fn after_chunk(
        &mut self,
        chunk: usize,
        collector: &mut dyn Collector,
    ) -> Result<(), FailureCause> {
        let Collected::Text { bytes, records } = collector.take()? else {
            unreachable!("a map-only job collects text")
        };
        let _reservation = self.attempt.memory.reserve(bytes.capacity() as u64);
        self.part.submit(chunk, Text { bytes, records, _reservation }, || {
            if self.stop.load(Ordering::Relaxed) {
                // Another thread has failed, and its failure is the one to report.
                return Err(FailureCause::Cancelled);
            }
            self.attempt.check()
        })
    }

    fn finish(self, _collector: &mut dyn Collector) -> Result<(), FailureCause> {
        Ok(())
    }
}
