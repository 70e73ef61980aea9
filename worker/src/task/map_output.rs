//! The end of a map attempt: the threads' buffers are sorted, merged with what was spilled, combined once more,
//! and written as one segment, several partitions at a time.

use std::sync::Arc;

use rayon::prelude::*;
use windrow_jobs::FailureCause;
use windrow_jobs::program::{RecordBatches, RecordRef};

use super::Attempt;
use super::map::Pairs;
use crate::files::TemporaryFile;
use crate::memory::Reservation;
use crate::shuffle::merge::Merge;
use crate::shuffle::pairs::{MemorySource, SortedBuffer, SortedPairs};
use crate::shuffle::segment::{PartitionIndex, RunWriter, Segment};
use crate::shuffle::source::BlockSource;
use crate::shuffle::spill::Scratch;

/// A map attempt's segment, under its final name.
pub struct MapOutput {
    /// The file.
    pub file: TemporaryFile,
    /// Its size.
    pub bytes: u64,
    /// Its pairs.
    pub records: u64,
}

/// Writes the segment of all that the threads have collected.
pub fn write(attempt: &Attempt, collected: Vec<Pairs>) -> Result<MapOutput, FailureCause> {
    let collected: Vec<Sorted> = collected
        .into_par_iter()
        .map(|Pairs { buffer, runs, _reservation }| {
            let _core = attempt.cores.take();
            Sorted { pairs: Arc::new(SortedBuffer::new(buffer)), runs, _reservation }
        })
        .collect();
    let segment = attempt.scratch.create()?;
    let run = segment.begin_run();
    let partitions = (0..attempt.context.partitions)
        .into_par_iter()
        .map(|partition| write_partition(attempt, run, &collected, partition))
        .collect::<Result<Vec<PartitionIndex>, _>>()?;
    let records = partitions.iter().map(|partition| partition.records).sum();
    let (file, bytes) = segment.finish(partitions)?;
    attempt.check()?;
    let file = attempt.scratch.folder.publish(file, attempt.id.task.index, attempt.id.number)?;
    Ok(MapOutput { file, bytes, records })
}

fn write_partition(
    attempt: &Attempt,
    run: RunWriter<'_>,
    collected: &[Sorted],
    partition: u32,
) -> Result<PartitionIndex, FailureCause> {
    attempt.check()?;
    let _core = attempt.cores.take();
    let mut output = run.partition(partition);
    let sources = sources(collected, partition);
    // The pairs of a single source have been combined already.
    let combine = sources.len() > 1 && attempt.program.has_combiner();
    let _reservation = attempt.reserve_merge(sources.len());
    let mut merge = attempt.scratch.merge(sources)?;
    if combine {
        let mut input = Checked { merge, scratch: &attempt.scratch };
        attempt.program.combine(&mut input, &mut output)?;
    } else {
        attempt.scratch.copy(&mut merge, &mut output)?;
    }
    output.finish()
}

/// What one thread has collected, sorted.
struct Sorted {
    pairs: Arc<dyn SortedPairs>,
    runs: Vec<Segment>,
    _reservation: Reservation,
}

fn sources(collected: &[Sorted], partition: u32) -> Vec<Box<dyn BlockSource>> {
    let mut sources: Vec<Box<dyn BlockSource>> = Vec::new();
    for Sorted { pairs, runs, .. } in collected {
        let lent = MemorySource::new(Arc::clone(pairs), partition);
        sources.extend(lent.map(|source| Box::new(source) as _));
        let spilled = runs.iter().flat_map(|run| run.sources(partition));
        sources.extend(spilled.map(|source| Box::new(source) as _));
    }
    sources
}

/// A merge that ends when the attempt is cancelled.
struct Checked<'a> {
    merge: Merge<'a>,
    scratch: &'a Scratch,
}

impl RecordBatches for Checked<'_> {
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause> {
        self.scratch.check()?;
        self.merge.next_batch()
    }
}
