//! The end of a map attempt: the pairs that its threads have collected become its output.
//!
//! ```text
//!  buffers of the threads --> sorted, combined once more --> one run in memory
//!                                                          | or, if anything has been spilled,
//!  spilled runs -----------------------------------------> a segment file of several runs
//! ```
//!
//! Runs are not merged here: reducers merge everything that they read anyway. Pairs of several
//! threads are combined only to save memory, disk or network: a reducer that reads them from the
//! memory of its own process combines them at less cost.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;
use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::pairs::{RecordBatches, RecordRef, RecordSink};
use windrow_jobs::{Audit, FailureCause, RecordPlace};

use super::{Attempt, Left};
use crate::memory::{Account, Reservation};
use crate::shuffle::merge::Merge;
use crate::shuffle::pairs::{MemorySource, SortedBuffer, SortedPairs};
use crate::shuffle::segment::{MemorySegment, PartitionIndex, SegmentWriter};
use crate::shuffle::spill::{Scratch, write_partition};
use crate::sync::{into_inner, lock};

/// Partitions are combined in so many groups for each thread: enough that all threads end at about
/// the same time.
const GROUPS_PER_THREAD: u32 = 4;

/// Pairs of several threads are not combined while there is room for so many more such outputs:
/// then hardly any output will have to be written to disk because of it.
const OUTPUTS_TO_COME: u64 = 4;

/// A map attempt's output, held in memory or under its final name.
pub struct MapOutput {
    /// The place of the output.
    pub left: Left,
    /// Its size: of the file, or of the pairs in memory.
    pub bytes: u64,
    /// Its pairs.
    pub records: u64,
    /// The sum of the audits of its partitions.
    pub audit: Audit,
    /// Whether some of its pairs were spilled, or not combined with those of other threads.
    pub is_partial: bool,
}

/// The pairs that a thread has collected and not spilled.
pub struct Pairs {
    /// Not sorted.
    pub buffer: RecordBuffer,
    /// Accounts for the buffer.
    pub reservation: Reservation,
}

/// The file to which an attempt spills; created when it is first needed.
#[derive(Default)]
pub struct SpillFile {
    segment: OnceLock<SegmentWriter>,
    index: Mutex<Vec<PartitionIndex>>,
}

impl SpillFile {
    /// Sorts a buffer and appends it as a run. Returns it, emptied.
    pub fn spill(
        &self,
        scratch: &Scratch,
        buffer: RecordBuffer,
    ) -> Result<RecordBuffer, FailureCause> {
        let before = buffer.len();
        let pairs = SortedBuffer::new(buffer);
        debug_assert_eq!(pairs.records(), before as u64, "sorting loses no pair");
        if pairs.records() > 0 {
            let index = scratch.append(self.segment(scratch)?, &pairs)?;
            lock(&self.index).extend(index);
        }
        Ok(pairs.emptied())
    }

    fn segment(&self, scratch: &Scratch) -> Result<&SegmentWriter, FailureCause> {
        if let Some(segment) = self.segment.get() {
            return Ok(segment);
        }
        // If two threads get here at once, one of the files is removed.
        let created = scratch.create()?;
        Ok(self.segment.get_or_init(|| created))
    }

    fn is_empty(&self) -> bool {
        self.segment.get().is_none()
    }
}

/// Makes the output from all collected and spilled pairs.
pub fn finish(
    attempt: &Attempt,
    collected: Vec<Pairs>,
    spilled: SpillFile,
    memory: &Account,
) -> Result<MapOutput, FailureCause> {
    let collected: Vec<Pairs> =
        collected.into_iter().filter(|pairs| !pairs.buffer.is_empty()).collect();
    let combines = attempt.program.has_combiner() && collected.len() > 1;
    let may_hold = spilled.is_empty() && !attempt.outputs_on_disk;
    if combines && may_hold && are_cheap_to_hold(attempt, &collected) {
        let (runs, reservation) = sort_each(attempt, collected, memory);
        attempt.check()?;
        return Ok(MapOutput { is_partial: true, ..hold(attempt, runs, reservation)? });
    }
    let (sorted, mut reservation) = if combines {
        combine_or_spill(attempt, collected, &spilled, memory)?
    } else {
        let (buffers, reservations): (Vec<_>, Vec<_>) =
            collected.into_iter().map(|pairs| (pairs.buffer, pairs.reservation)).unzip();
        let sorted = SortedBuffer::in_parallel(RecordBuffer::merge(buffers), |task| {
            let _core = attempt.cores.take();
            task.run();
        });
        (sorted, absorbed(reservations, memory))
    };
    attempt.check()?;
    let bytes = sorted.memory_bytes() as u64;
    let is_partial = !spilled.is_empty();
    let may_hold = !is_partial && !attempt.outputs_on_disk;
    if may_hold && attempt.try_resize(&mut reservation, bytes) {
        hold(attempt, vec![sorted], reservation)
    } else {
        reservation.resize(bytes);
        Ok(MapOutput { is_partial, ..write(attempt, &sorted, spilled)? })
    }
}

/// Whether reducers will read these pairs from this process's memory, and there is room for
/// [`OUTPUTS_TO_COME`] more such outputs.
fn are_cheap_to_hold(attempt: &Attempt, collected: &[Pairs]) -> bool {
    let bytes: u64 = collected.iter().map(|pairs| pairs.reservation.bytes()).sum();
    attempt.is_only_worker && attempt.pairs.has_room(bytes.saturating_mul(OUTPUTS_TO_COME))
}

/// Sorts the threads' buffers, each of which becomes a run.
fn sort_each(
    attempt: &Attempt,
    collected: Vec<Pairs>,
    memory: &Account,
) -> (Vec<SortedBuffer>, Reservation) {
    let (runs, reservations): (Vec<_>, Vec<_>) = collected
        .into_par_iter()
        .with_max_len(1)
        .map(|Pairs { buffer, reservation }| {
            let _core = attempt.cores.take();
            (SortedBuffer::new(buffer), reservation)
        })
        .unzip();
    (runs, absorbed(reservations, memory))
}

/// One reservation in place of several.
fn absorbed(reservations: Vec<Reservation>, memory: &Account) -> Reservation {
    let mut all = memory.reserve(0);
    reservations.into_iter().for_each(|one| all.absorb(one));
    all
}

/// Sorts the threads' buffers, merges them, and combines pairs of several threads. If there is no
/// memory for the result, each buffer becomes a run instead, and reducers combine.
fn combine_or_spill(
    attempt: &Attempt,
    collected: Vec<Pairs>,
    spilled: &SpillFile,
    memory: &Account,
) -> Result<(SortedBuffer, Reservation), FailureCause> {
    let bytes = collected.iter().map(|pairs| pairs.buffer.memory_bytes() as u64).sum();
    let mut reservation = memory.reserve(0);
    if !attempt.try_resize(&mut reservation, bytes) {
        collected.into_par_iter().with_max_len(1).try_for_each(
            |Pairs { buffer, reservation }| {
                let _core = attempt.cores.take();
                spilled.spill(&attempt.scratch, buffer)?;
                drop(reservation);
                Ok::<_, FailureCause>(())
            },
        )?;
        let nothing = SortedBuffer::new(RecordBuffer::new(attempt.context.partitions));
        return Ok((nothing, reservation));
    }
    let (sources, reservations): (Vec<Arc<dyn SortedPairs>>, Vec<Reservation>) = collected
        .into_par_iter()
        .with_max_len(1)
        .map(|Pairs { buffer, reservation }| {
            let _core = attempt.cores.take();
            (Arc::new(SortedBuffer::new(buffer)) as _, reservation)
        })
        .unzip();
    let combined = combine(attempt, &sources)?;
    drop((sources, reservations));
    Ok((combined, reservation))
}

/// Combines all partitions, a few in a row on each thread: one buffer for each partition would cost
/// more than most of them hold.
fn combine(
    attempt: &Attempt,
    sources: &[Arc<dyn SortedPairs>],
) -> Result<SortedBuffer, FailureCause> {
    let partitions = attempt.context.partitions;
    debug_assert!(attempt.threads > 0, "there is at least one thread");
    let group = partitions.div_ceil(attempt.threads as u32 * GROUPS_PER_THREAD).max(1);
    let combined = (0..partitions.div_ceil(group))
        .into_par_iter()
        .with_max_len(1)
        .map(|number| {
            let _core = attempt.cores.take();
            let start = number * group;
            combine_partitions(attempt, sources, start..partitions.min(start + group))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let combined = SortedBuffer::concat(combined);
    debug_assert_eq!(combined.partitions(), partitions, "each partition is in one group");
    Ok(combined)
}

fn combine_partitions(
    attempt: &Attempt,
    sources: &[Arc<dyn SortedPairs>],
    partitions: Range<u32>,
) -> Result<RecordBuffer, FailureCause> {
    let mut output =
        PartitionSink { buffer: RecordBuffer::new(partitions.len() as u32), partition: 0 };
    for partition in partitions {
        let lent =
            sources.iter().filter_map(|pairs| MemorySource::new(Arc::clone(pairs), partition));
        let merge = Merge::new(lent.map(|source| Box::new(source) as _).collect());
        let mut input = Checked { merge, scratch: &attempt.scratch };
        attempt.program.combine(&mut input, &mut output)?;
        debug_assert!(
            output.partition < output.buffer.partitions(),
            "all groups have the announced size"
        );
        output.partition += 1;
    }
    Ok(output.buffer)
}

/// Keeps the output in memory.
fn hold(
    attempt: &Attempt,
    runs: Vec<SortedBuffer>,
    reservation: Reservation,
) -> Result<MapOutput, FailureCause> {
    let records: u64 = runs.iter().map(SortedBuffer::records).sum();
    let bytes = runs.iter().map(SortedBuffer::records_bytes).sum();
    let audit = sum(runs
        .iter()
        .flat_map(|run| (0..run.partitions()).map(|partition| (partition, run.audit(partition)))));
    debug_assert_eq!(audit.records, records, "the promised number of pairs is the real one");
    let segment = MemorySegment::new(runs, attempt.scratch.codec, reservation);
    let (task, number) = (attempt.id.task.index, attempt.id.number);
    let left = Left::Held(attempt.scratch.folder.hold(segment, task, number)?);
    Ok(MapOutput { left, bytes, records, audit, is_partial: false })
}

fn sum(partitions: impl Iterator<Item = (u32, Audit)>) -> Audit {
    let mut sum = Audit::default();
    partitions.for_each(|(partition, audit)| sum.merge(audit.of_partition(partition)));
    sum
}

/// Writes the pairs in memory as the file's last run.
fn write(
    attempt: &Attempt,
    pairs: &SortedBuffer,
    spilled: SpillFile,
) -> Result<MapOutput, FailureCause> {
    let run = spilled.segment(&attempt.scratch)?.begin_run();
    let last = (0..pairs.partitions())
        .into_par_iter()
        .with_max_len(1)
        .filter(|partition| pairs.len(*partition) > 0)
        .map(|partition| {
            attempt.check()?;
            let _core = attempt.cores.take();
            write_partition(run, pairs, partition)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let SpillFile { segment, index } = spilled;
    let mut index = into_inner(index);
    index.extend(last);
    debug_assert!(
        index.iter().all(|entry| entry.partition < attempt.context.partitions),
        "no reducer reads pairs beyond the last partition"
    );
    let audit = sum(index.iter().map(|entry| (entry.partition, entry.audit)));
    let segment = segment.into_inner().map_or_else(|| attempt.scratch.create(), Ok)?;
    let (file, bytes) = segment.finish(index)?;
    attempt.check()?;
    let file = attempt.scratch.folder.publish(file, attempt.id.task.index, attempt.id.number)?;
    let (left, records) = (Left::File(file), audit.records);
    Ok(MapOutput { left, bytes, records, audit, is_partial: false })
}

/// A buffer for the pairs of one partition after the other.
struct PartitionSink {
    buffer: RecordBuffer,
    partition: u32,
}

impl RecordSink for PartitionSink {
    #[inline]
    fn push(&mut self, record: RecordRef<'_>) -> Result<(), FailureCause> {
        self.buffer.push(self.partition, record).map_err(|error| FailureCause::UserError {
            place: RecordPlace::default(),
            message: error.message().to_string(),
        })
    }
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

    fn batch_copied(&mut self) {
        self.merge.batch_copied();
    }
}
