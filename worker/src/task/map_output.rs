//! The end of a map attempt: the threads' buffers are sorted, merged with what was spilled, combined once more,
//! and written as one segment, several partitions at a time.

use rayon::prelude::*;
use windrow_jobs::FailureCause;
use windrow_jobs::program::{RecordBatches, RecordRef};

use super::Attempt;
use super::map::Pairs;
use crate::files::TemporaryFile;
use crate::shuffle::merge::Merge;
use crate::shuffle::segment::{PartitionIndex, SegmentWriter};
use crate::shuffle::source::{BlockSource, BufferSource};
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
pub fn write(attempt: &Attempt, mut collected: Vec<Pairs>) -> Result<MapOutput, FailureCause> {
    collected.par_iter_mut().for_each(|pairs| {
        let _core = attempt.cores.take();
        pairs.buffer.sort();
    });
    let segment = SegmentWriter::create(attempt.scratch.folder.scratch_path())?;
    let partitions = (0..attempt.context.partitions)
        .into_par_iter()
        .map(|partition| write_partition(attempt, &segment, &collected, partition))
        .collect::<Result<Vec<PartitionIndex>, _>>()?;
    let records = partitions.iter().map(|partition| partition.records).sum();
    let (file, bytes) = segment.finish(partitions)?;
    attempt.check()?;
    let file = attempt.scratch.folder.publish(file, attempt.id.task.index, attempt.id.number)?;
    Ok(MapOutput { file, bytes, records })
}

fn write_partition(
    attempt: &Attempt,
    segment: &SegmentWriter,
    collected: &[Pairs],
    partition: u32,
) -> Result<PartitionIndex, FailureCause> {
    attempt.check()?;
    let _core = attempt.cores.take();
    let mut output = segment.partition(partition);
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

fn sources(collected: &[Pairs], partition: u32) -> Vec<Box<dyn BlockSource + '_>> {
    let mut sources: Vec<Box<dyn BlockSource + '_>> = Vec::new();
    for Pairs { buffer, runs, .. } in collected {
        let buffered = BufferSource::new(buffer, partition);
        if !buffered.is_empty() {
            sources.push(Box::new(buffered));
        }
        let spilled = runs.iter().filter_map(|run| run.source(partition));
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
