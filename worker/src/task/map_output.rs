//! The end of a map attempt: what its threads have collected becomes its output.
//!
//! ```text
//!  buffers of the threads --> sorted, combined once more --> one run in memory
//!                                                          | or, if anything has been spilled,
//!  spilled runs -----------------------------------------> a segment file of several runs
//! ```
//!
//! Runs are not merged here: reducers merge everything that they read anyway.

use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;
use windrow_jobs::FailureCause;
use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::program::{RecordBatches, RecordRef, RecordSink};

use super::{Attempt, Left};
use crate::memory::{Account, Reservation};
use crate::shuffle::merge::Merge;
use crate::shuffle::pairs::{MemorySource, SortedBuffer, SortedPairs};
use crate::shuffle::segment::{MemorySegment, PartitionIndex, SegmentWriter};
use crate::shuffle::spill::{Scratch, write_partition};
use crate::sync::lock;

/// A map attempt's output, held in memory or under its final name.
pub struct MapOutput {
    /// Where it is.
    pub left: Left,
    /// Its size: of the file, or of the pairs in memory.
    pub bytes: u64,
    /// Its pairs.
    pub records: u64,
}

/// What a thread has collected and not spilled.
pub struct Pairs {
    /// Not sorted.
    pub buffer: RecordBuffer,
    /// Counts the buffer.
    pub reservation: Reservation,
}

/// The file that an attempt spills to; created when it is first needed.
#[derive(Default)]
pub struct SpillFile {
    segment: OnceLock<SegmentWriter>,
    index: Mutex<Vec<PartitionIndex>>,
}

impl SpillFile {
    /// Sorts a buffer and appends it as a run. Gives it back, emptied.
    pub fn spill(
        &self,
        scratch: &Scratch,
        buffer: RecordBuffer,
    ) -> Result<RecordBuffer, FailureCause> {
        let pairs = SortedBuffer::new(buffer);
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
        // If two threads come here at once, one of the files goes again.
        let created = scratch.create()?;
        Ok(self.segment.get_or_init(|| created))
    }

    fn is_empty(&self) -> bool {
        self.segment.get().is_none()
    }
}

/// Makes the output of all that the threads have collected and spilled.
pub fn finish(
    attempt: &Attempt,
    collected: Vec<Pairs>,
    spilled: SpillFile,
    memory: &Account,
) -> Result<MapOutput, FailureCause> {
    let (buffers, reservations): (Vec<_>, Vec<_>) =
        collected.into_iter().map(|pairs| (pairs.buffer, pairs.reservation)).unzip();
    let combines = attempt.program.has_combiner();
    let sorted = if combines && buffers.iter().filter(|buffer| !buffer.is_empty()).count() > 1 {
        combine(attempt, buffers, memory)?
    } else {
        let _core = attempt.cores.take();
        SortedBuffer::new(RecordBuffer::merge(buffers))
    };
    drop(reservations);
    attempt.check()?;
    let mut reservation = memory.reserve(0);
    let bytes = sorted.memory_bytes() as u64;
    if spilled.is_empty() && attempt.try_resize(&mut reservation, bytes) {
        hold(attempt, sorted, reservation)
    } else {
        reservation.resize(bytes);
        write(attempt, &sorted, spilled)
    }
}

/// Merges the threads' buffers, and combines what several of them have.
fn combine(
    attempt: &Attempt,
    buffers: Vec<RecordBuffer>,
    memory: &Account,
) -> Result<SortedBuffer, FailureCause> {
    let sources: Vec<Arc<dyn SortedPairs>> = buffers
        .into_par_iter()
        .map(|buffer| {
            let _core = attempt.cores.take();
            Arc::new(SortedBuffer::new(buffer)) as _
        })
        .collect();
    let partitions = attempt.context.partitions;
    let combined = (0..partitions)
        .into_par_iter()
        .with_max_len(1)
        .map(|partition| {
            let _core = attempt.cores.take();
            combine_partition(attempt, &sources, partition, memory)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(SortedBuffer::of_partitions(combined))
}

fn combine_partition(
    attempt: &Attempt,
    sources: &[Arc<dyn SortedPairs>],
    partition: u32,
    memory: &Account,
) -> Result<RecordBuffer, FailureCause> {
    let lent = sources.iter().filter_map(|pairs| MemorySource::new(Arc::clone(pairs), partition));
    let merge = Merge::new(lent.map(|source| Box::new(source) as _).collect());
    let mut output = PartitionBuffer {
        buffer: RecordBuffer::new(attempt.context.partitions),
        partition,
        reservation: memory.reserve(0),
    };
    let mut input = Checked { merge, scratch: &attempt.scratch };
    attempt.program.combine(&mut input, &mut output)?;
    Ok(output.buffer)
}

/// Keeps the output in memory.
fn hold(
    attempt: &Attempt,
    pairs: SortedBuffer,
    reservation: Reservation,
) -> Result<MapOutput, FailureCause> {
    let (records, bytes) = (pairs.records(), pairs.records_bytes());
    let segment = MemorySegment::new(pairs, attempt.scratch.codec, reservation);
    let (task, number) = (attempt.id.task.index, attempt.id.number);
    let left = Left::Held(attempt.scratch.folder.hold(segment, task, number)?);
    Ok(MapOutput { left, bytes, records })
}

/// Writes what is still in memory as the file's last run.
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
    let mut index = index.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    index.extend(last);
    let records = index.iter().map(|entry| entry.records).sum();
    let segment = segment.into_inner().map_or_else(|| attempt.scratch.create(), Ok)?;
    let (file, bytes) = segment.finish(index)?;
    attempt.check()?;
    let file = attempt.scratch.folder.publish(file, attempt.id.task.index, attempt.id.number)?;
    Ok(MapOutput { left: Left::File(file), bytes, records })
}

/// One partition of a buffer, as a sink.
struct PartitionBuffer {
    buffer: RecordBuffer,
    partition: u32,
    reservation: Reservation,
}

impl RecordSink for PartitionBuffer {
    #[inline]
    fn push(&mut self, record: RecordRef<'_>) -> Result<(), FailureCause> {
        self.buffer.push(self.partition, record).map_err(|error| FailureCause::UserError {
            place: windrow_jobs::Place::default(),
            message: error.message().to_string(),
        })?;
        let bytes = self.buffer.memory_bytes() as u64;
        if bytes > self.reservation.bytes() {
            self.reservation.resize(bytes);
        }
        Ok(())
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
}
