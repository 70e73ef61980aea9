//! A reduce attempt: one partition of all map outputs, merged and reduced to a part, on one
//! thread.

use std::time::Instant;

use windrow_jobs::output::PartInfo;
use windrow_jobs::pairs::{RecordBatches, RecordRef};
use windrow_jobs::{Audit, BadRecord, FailureCause, PartKind};

use super::bad_records::BadRecordsFile;
use super::{Attempt, Left, Outcome, audit};
use crate::model::{Finished, Progress, Stats};
use crate::parts::WrittenPart;
use crate::shuffle::fetch::Streams;
use crate::shuffle::merge::Merge;
use crate::shuffle::source::BlockSource;
use crate::shuffle::spill::Scratch;

/// Runs a reduce attempt on the sources of its partition. They are opened a second time if their
/// pairs are not the promised ones.
pub fn run(
    attempt: &Attempt,
    open: impl Fn(Streams) -> Result<Vec<Box<dyn BlockSource>>, FailureCause>,
) -> Result<Outcome, FailureCause> {
    let started = Instant::now();
    let partition = attempt.id.task.index;
    let sources = open(Streams::Shared)?;
    let has_large = attempt.scratch.has_large(&sources);
    let _large = has_large.then(|| attempt.enter_large()).transpose()?;
    let room = if has_large {
        attempt.reserve_large_merge(&sources)
    } else {
        attempt.reserve_merge(&sources)
    };
    let merge_bytes = attempt.scratch.merge_bytes.max(room.bytes());
    let scratch = Scratch { merge_bytes, ..attempt.scratch.clone() };
    let mut input = Counted {
        merge: scratch.merge(sources)?,
        scratch: &attempt.scratch,
        progress: &attempt.progress,
        read: Audit::default(),
        bytes: 0,
    };
    let mut output = attempt.create(PartKind::Output)?;
    let bad_records = BadRecordsFile::of(attempt)?;
    let (program, part) = (&attempt.program, PartInfo::new(partition));
    let summary = if attempt.bad_records.is_needed() {
        let mut groups = 0..;
        let mut skipped = |bad: BadRecord| {
            let Some(bad_records) = &bad_records else { return Err(bad.into_cause()) };
            let group = groups.next().unwrap_or_default();
            bad_records.put(group, vec![bad], || attempt.check())
        };
        program.reduce_skipping(
            part,
            &mut input,
            &mut *output,
            &attempt.bad_records,
            &mut skipped,
        )?
    } else {
        program.reduce(part, &mut input, &mut *output)?
    };
    attempt.check()?;
    if input.finish()? != input.read {
        let sources = open(Streams::OneEach)?;
        return Err(audit::find_damaged_output(&attempt.scratch, sources, partition));
    }
    let WrittenPart { handle: part, unreported } = output.finish(summary.output_records)?;
    let stats = Stats {
        input_records: input.read.records,
        input_bytes: input.bytes,
        output_records: part.records,
        output_bytes: part.bytes,
        elapsed: started.elapsed(),
        counters: summary.counters,
        audit: input.read.of_partition(partition),
        ..Stats::default()
    };
    let finished = Finished { stats, part: Some(part), bad_records: None };
    let mut outcome = Outcome { finished, left: Left::Part(unreported), bad_records: None };
    if let Some(bad_records) = bad_records {
        bad_records.finish(&mut outcome)?;
    }
    Ok(outcome)
}

/// The merge, audited, with its progress counted, until the attempt is cancelled.
struct Counted<'a> {
    merge: Merge<'static>,
    scratch: &'a Scratch,
    progress: &'a Progress,
    read: Audit,
    bytes: u64,
}

impl Counted<'_> {
    /// Reads the pairs that the reducer did not, and returns the promised audit of all pairs.
    fn finish(&mut self) -> Result<Audit, FailureCause> {
        while self.next_batch()?.is_some() {}
        Ok(self.merge.promised())
    }
}

impl RecordBatches for Counted<'_> {
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause> {
        self.scratch.check()?;
        let batch = self.merge.next_batch()?;
        if let Some(batch) = batch {
            let mut bytes = 0;
            for record in batch {
                self.read.add(record.key, record.value);
                bytes += (record.key.len() + record.value.len()) as u64;
            }
            self.bytes += bytes;
            self.progress.add(batch.len() as u64, bytes);
        }
        Ok(batch)
    }

    fn batch_copied(&mut self) {
        self.merge.batch_copied();
    }
}
