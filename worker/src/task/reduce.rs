//! A reduce attempt: one partition of all map outputs, merged and reduced to a part, on one thread.

use std::time::Instant;

use windrow_jobs::FailureCause;
use windrow_jobs::program::{RecordBatches, RecordRef};

use super::output::PartWriter;
use super::quarantine::Quarantine;
use super::{Attempt, Left, Outcome};
use crate::executor::{Finished, Progress, Stats};
use crate::shuffle::merge::Merge;
use crate::shuffle::source::BlockSource;
use crate::shuffle::spill::Scratch;

/// Runs a reduce attempt on these sources of its partition.
pub fn run(attempt: &Attempt, sources: Vec<Box<dyn BlockSource>>) -> Result<Outcome, FailureCause> {
    let started = Instant::now();
    let has_large = attempt.scratch.has_large(&sources);
    let _pass = if has_large { Some(attempt.enter_large()?) } else { None };
    let _reservation = attempt.reserve_merge(sources.len());
    let mut input = Counted {
        merge: attempt.scratch.merge(sources)?,
        scratch: &attempt.scratch,
        progress: &attempt.progress,
        records: 0,
        bytes: 0,
    };
    let mut output = PartWriter::create(attempt.part_path())?;
    let quarantine = Quarantine::of(attempt)?;
    let summary = match &quarantine {
        None => attempt.program.reduce(&mut input, &mut output)?,
        Some(quarantine) => {
            let mut groups = 0..;
            let mut skipped = |bad| {
                let group = groups.next().unwrap_or_default();
                quarantine.put(group, vec![bad], || attempt.check())
            };
            attempt.program.reduce_skipping(&mut input, &mut output, &mut skipped)?
        }
    };
    attempt.check()?;
    let (part, file) = output.finish(summary.output_records)?;
    let stats = Stats {
        input_records: input.records,
        input_bytes: input.bytes,
        output_records: part.records,
        output_bytes: part.bytes,
        elapsed: started.elapsed(),
        counters: summary.counters,
        ..Stats::default()
    };
    let finished = Finished { stats, part: Some(part), quarantine: None };
    let mut outcome = Outcome { finished, left: Left::File(file), quarantine: None };
    if let Some(quarantine) = quarantine {
        quarantine.finish(&mut outcome)?;
    }
    Ok(outcome)
}

/// The merge, with its progress counted, until the attempt is cancelled.
struct Counted<'a> {
    merge: Merge<'static>,
    scratch: &'a Scratch,
    progress: &'a Progress,
    records: u64,
    bytes: u64,
}

impl RecordBatches for Counted<'_> {
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause> {
        self.scratch.check()?;
        let batch = self.merge.next_batch()?;
        if let Some(batch) = batch {
            let records = batch.len() as u64;
            let bytes = batch.iter().map(|record| (record.key.len() + record.value.len()) as u64);
            let bytes = bytes.sum();
            self.records += records;
            self.bytes += bytes;
            self.progress.add(records, bytes);
        }
        Ok(batch)
    }
}
