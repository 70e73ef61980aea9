//! A map attempt of a job without reducer: the encoded chunks of its input, in input order, are a
//! part.

use std::sync::atomic::{AtomicBool, Ordering};

use windrow_jobs::collect::{
    Collected, Collector, CollectorSetup, MemoryBudget, RecordBuffer, Sections,
};
use windrow_jobs::output::PartInfo;
use windrow_jobs::{FailureCause, PartKind};

use super::bad_records::BadRecordsFile;
use super::dealer::Order;
use super::map_loop::{ChunkSink, MapLoops};
use super::ordered::{MEMORY_PARTS, OrderedPart, Text, TextFile};
use super::plan::InputPlan;
use super::{Attempt, Left, Outcome};
use crate::model::{Finished, Stats};
use crate::parts::WrittenPart;

/// Runs the attempt; the caller adds its duration.
pub fn run(
    attempt: &Attempt,
    plan: &InputPlan,
    setup: CollectorSetup,
    bad_records: Option<&BadRecordsFile>,
) -> Result<Outcome, FailureCause> {
    let stop = AtomicBool::new(false);
    let mut writer = attempt.create(PartKind::Output)?;
    let info = PartInfo::new(attempt.id.task.index);
    let frame = attempt.program.begin_part(info, &mut *writer)?;
    let part = OrderedPart::new(writer, frame, attempt.threads, &attempt.memory);
    let in_hand_bytes_max = in_hand_bytes_max(attempt, plan);
    let loops = MapLoops { attempt, plan, setup, bad_records, order: Order::Input, stop: &stop };
    let (totals, _) = loops.run(|| {
        let (chunk, on_disk) = Default::default();
        TextSink { attempt, part: &part, stop: &stop, chunk, in_hand_bytes_max, on_disk }
    })?;
    let (writer, records) = part.finish()?;
    let WrittenPart { handle: part, unreported } = writer.finish(records)?;
    let stats = Stats {
        input_records: totals.records,
        input_bytes: totals.bytes,
        output_records: part.records,
        output_bytes: part.bytes,
        counters: totals.counters,
        ..Stats::default()
    };
    let finished = Finished { stats, part: Some(part), bad_records: None };
    Ok(Outcome { finished, left: Left::Part(unreported), bad_records: None })
}

/// Most text that a thread may hold: all threads together may hold as much as the texts that wait
/// for their turn. A chunk whose text is a few times as long is not written twice for that.
fn in_hand_bytes_max(attempt: &Attempt, plan: &InputPlan) -> u64 {
    let share_bytes = attempt.memory.limit_bytes() / MEMORY_PARTS / attempt.threads.max(1) as u64;
    share_bytes.max(CHUNKS_IN_HAND * plan.chunk_bytes)
}

/// However little memory there is, a chunk's text may be this many times as long as the chunk.
const CHUNKS_IN_HAND: u64 = 4;

/// Hands on the text of each chunk.
struct TextSink<'a> {
    attempt: &'a Attempt,
    part: &'a OrderedPart,
    stop: &'a AtomicBool,
    /// The chunk that is being mapped.
    chunk: usize,
    in_hand_bytes_max: u64,
    /// The beginning of its text, where that was too long for the memory.
    on_disk: Option<TextFile>,
}

/// Text is taken after each chunk: text for which there is no room waits then (see `ordered`).
/// While a chunk is being mapped, its thread never waits, since it has a core and others may wait
/// for its turn: text that grows too long goes to the part if it is next, and otherwise to a file
/// for the time being.
impl MemoryBudget for TextSink<'_> {
    fn grow(&mut self, bytes: usize) -> bool {
        bytes as u64 <= self.in_hand_bytes_max
    }

    fn spill_output(
        &mut self,
        bytes: Vec<u8>,
        records: u64,
        sections: Sections,
    ) -> Result<(), FailureCause> {
        self.attempt.check()?;
        let text = self.text(bytes, records, sections);
        let Some(early) = self.part.write_ahead(self.chunk, text)? else { return Ok(()) };
        let Text { on_disk, bytes, records, sections, .. } = early;
        let path = || self.attempt.scratch.folder.scratch_path();
        let mut file = on_disk.map_or_else(|| TextFile::create(path()), Ok)?;
        file.append(&bytes, records, sections)?;
        self.on_disk = Some(file);
        Ok(())
    }

    fn spill(&mut self, _pairs: RecordBuffer) -> Result<RecordBuffer, FailureCause> {
        unreachable!("a map-only job collects output")
    }
}

impl TextSink<'_> {
    /// The whole text of the chunk.
    fn text(&mut self, bytes: Vec<u8>, records: u64, sections: Sections) -> Text {
        let _reservation = self.attempt.memory.reserve(bytes.capacity() as u64);
        Text { on_disk: self.on_disk.take(), bytes, records, sections, _reservation }
    }
}

impl ChunkSink for TextSink<'_> {
    type Left = ();

    fn before_chunk(&mut self, chunk: usize) {
        debug_assert!(self.on_disk.is_none(), "text on disk was submitted with its chunk");
        self.chunk = chunk;
    }

    fn after_chunk(
        &mut self,
        chunk: usize,
        collector: &mut dyn Collector,
    ) -> Result<(), FailureCause> {
        let Collected::Output { bytes, records, sections } = collector.take()? else {
            unreachable!("a map-only job collects output")
        };
        let text = self.text(bytes, records, sections);
        self.part.submit(chunk, text, || {
            if self.stop.load(Ordering::Relaxed) {
                // Another thread has failed, and its failure is reported.
                return Err(FailureCause::Cancelled);
            }
            self.attempt.check()
        })
    }

    fn finish(self, _collector: &mut dyn Collector) -> Result<(), FailureCause> {
        Ok(())
    }
}
