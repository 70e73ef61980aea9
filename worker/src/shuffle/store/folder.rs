//! The folder of one job, and its map outputs that are still in memory.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use windrow_jobs::{FailureCause, JobIdentity, StageId};

use super::{Output, SCRATCH_PREFIX, boxed, segment_name};
use crate::files::{TemporaryFile, remove_folder};
use crate::shuffle::pairs::SortedPairs;
use crate::shuffle::segment::{MemorySegment, Owner, Segment, SegmentWriter};
use crate::shuffle::source::BlockSource;
use crate::shuffle::spill::write_partition;
use crate::sync::lock;

/// Most memory for cached indexes of a job's files. Beyond that, indexes are read again when they
/// are needed.
const INDEX_BYTES_MAX: usize = 8 << 20;

/// The folder of one job and its outputs in memory, until the job is released.
pub struct JobFolder {
    path: PathBuf,
    job: JobIdentity,
    state: Mutex<State>,
    serial: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    is_removed: bool,
    held: HashMap<Output, Held>,
    /// Cached segments of outputs in files: each is needed once for every partition.
    opened: HashMap<Output, Arc<Segment>>,
    /// Memory that these take up.
    opened_bytes: usize,
    /// Number of discarded outputs.
    discarded: u64,
}

struct Held {
    segment: Arc<MemorySegment>,
    /// Some thread is writing it to its file.
    is_claimed: bool,
}

/// An output in the store. Dropping this removes the output, wherever it is by then, unless it is
/// kept.
pub struct HeldSegment {
    folder: Arc<JobFolder>,
    output: Output,
    kept: bool,
}

impl HeldSegment {
    /// Keeps the output in the store.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for HeldSegment {
    fn drop(&mut self) {
        if !self.kept {
            self.folder.discard(self.output);
        }
    }
}

impl JobFolder {
    /// The folder of `job` at `path`, which exists; `serial` makes names unique.
    pub(super) fn new(path: PathBuf, job: JobIdentity, serial: Arc<AtomicU64>) -> Self {
        Self { path, job, state: Mutex::default(), serial }
    }

    /// The job.
    pub fn job(&self) -> JobIdentity {
        self.job
    }

    /// The owner of an attempt's pairs.
    pub fn owner(&self, stage: StageId, task: u32, attempt: u32) -> Owner {
        Owner { job: self.job, stage, task, attempt }
    }

    /// The map attempt with this output.
    fn owner_of(&self, (task, attempt): Output) -> Owner {
        self.owner(StageId::MAP, task, attempt)
    }

    /// Puts a finished segment into the store, unless the job has been released meanwhile.
    pub fn hold(
        self: &Arc<Self>,
        segment: MemorySegment,
        task: u32,
        attempt: u32,
    ) -> Result<HeldSegment, FailureCause> {
        let output = (task, attempt);
        let mut state = lock(&self.state);
        if state.is_removed {
            return Err(FailureCause::Cancelled);
        }
        let held = Held { segment: Arc::new(segment), is_claimed: false };
        state.held.insert(output, held);
        Ok(HeldSegment { folder: Arc::clone(self), output, kept: false })
    }

    /// The pairs of `partition` in the output of a map attempt, in memory or in a file: a source
    /// for each run that has some. An error if there is no such output.
    pub fn sources(
        &self,
        output: Output,
        partition: u32,
    ) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
        if let Some(segment) = self.held(output) {
            return Ok(boxed(segment.sources(partition)));
        }
        // An output that is moving out of memory has its file before it leaves the map.
        let segment = self.open(output)?;
        segment.check_unpunched(partition)?;
        Ok(boxed(segment.sources(partition)?))
    }

    pub(super) fn held(&self, output: Output) -> Option<Arc<MemorySegment>> {
        lock(&self.state).held.get(&output).map(|held| Arc::clone(&held.segment))
    }

    /// Removes an output from memory and disk.
    pub(super) fn discard(&self, output: Output) {
        let mut state = lock(&self.state);
        // After its removal, the folder's name may belong to a later job.
        if !state.is_removed {
            state.discarded += 1;
            state.held.remove(&output);
            if let Some(segment) = state.opened.remove(&output) {
                state.opened_bytes -= segment.memory_bytes();
            }
            drop(TemporaryFile::new(self.segment_path(output)));
        }
    }

    /// The segment file of an output. Its index stays in memory while there is room; beyond that,
    /// only its directory does.
    fn open(&self, output: Output) -> Result<Arc<Segment>, FailureCause> {
        let (room, discarded) = {
            let state = lock(&self.state);
            if let Some(segment) = state.opened.get(&output) {
                return Ok(Arc::clone(segment));
            }
            // The rest is for directories, which are needed all the time.
            ((INDEX_BYTES_MAX / 2).saturating_sub(state.opened_bytes), state.discarded)
        };
        let segment =
            Arc::new(Segment::open(&self.segment_path(output), &self.owner_of(output), room)?);
        let mut state = lock(&self.state);
        // Another thread may have been faster, and its segment knows the partitions punched out
        // since.
        if let Some(opened) = state.opened.get(&output) {
            return Ok(Arc::clone(opened));
        }
        // An output that was discarded meanwhile would never leave the cache.
        let may_be_kept = !state.is_removed && state.discarded == discarded;
        if may_be_kept && state.opened_bytes + segment.memory_bytes() <= INDEX_BYTES_MAX {
            state.opened_bytes += segment.memory_bytes();
            state.opened.insert(output, Arc::clone(&segment));
        }
        Ok(segment)
    }

    /// Frees the disk space of `partition` in all outputs whose segments are cached: those are the
    /// files that have been read.
    pub(super) fn free_partition(&self, partition: u32) {
        let segments: Vec<_> = lock(&self.state).opened.values().cloned().collect();
        for segment in segments {
            if let Err(error) = segment.punch(partition) {
                tracing::debug!(path = %self.path.display(), partition, %error, "cannot free the disk space of pairs");
            }
        }
    }

    /// Size and name of the largest output in memory that no thread is writing, and nobody is
    /// reading: evicting that would free nothing.
    pub(super) fn largest(&self) -> Option<(u64, Output)> {
        let state = lock(&self.state);
        let is_free = |held: &Held| !held.is_claimed && Arc::strong_count(&held.segment) == 1;
        let free = state.held.iter().filter(|(_, held)| is_free(held));
        free.map(|(output, held)| (held.segment.memory_bytes(), *output)).max()
    }

    pub(super) fn claim(&self, output: Output) -> Option<Arc<MemorySegment>> {
        let mut state = lock(&self.state);
        let held = state.held.get_mut(&output).filter(|held| !held.is_claimed)?;
        held.is_claimed = true;
        Some(Arc::clone(&held.segment))
    }

    /// Writes a claimed segment, and drops it once its file exists.
    pub(super) fn evict(
        &self,
        output: Output,
        segment: &MemorySegment,
    ) -> Result<u64, FailureCause> {
        let written = self.write(segment, &self.owner_of(output));
        let mut state = lock(&self.state);
        let Some(held) = state.held.get_mut(&output) else {
            // Its job or its attempt has ended. Dropping `written` removes the file.
            return Ok(segment.memory_bytes());
        };
        let renamed = written.and_then(|mut file| {
            file.rename(self.segment_path(output))
                .map_err(|error| FailureCause::io(file.path(), &error))?;
            Ok(file)
        });
        held.is_claimed = false;
        renamed?.keep();
        state.held.remove(&output);
        Ok(segment.memory_bytes())
    }

    fn write(&self, segment: &MemorySegment, owner: &Owner) -> Result<TemporaryFile, FailureCause> {
        let writer = SegmentWriter::create(self.scratch_path(), segment.codec(), owner)?;
        let mut index = Vec::new();
        for pairs in segment.runs() {
            let run = writer.begin_run();
            for partition in 0..pairs.partitions() {
                index.push(write_partition(run, pairs, partition)?);
            }
        }
        Ok(writer.finish(index)?.0)
    }

    fn segment_path(&self, (task, attempt): Output) -> PathBuf {
        self.path.join(segment_name(task, attempt))
    }

    /// A unique file name.
    pub fn scratch_path(&self) -> PathBuf {
        self.path.join(format!("{SCRATCH_PREFIX}{}", self.next()))
    }

    /// Gives a finished segment its final name, unless the job has been released meanwhile.
    /// Dropping the guard still removes the file.
    pub fn publish(
        &self,
        mut file: TemporaryFile,
        task: u32,
        attempt: u32,
    ) -> Result<TemporaryFile, FailureCause> {
        let state = lock(&self.state);
        if state.is_removed {
            return Err(FailureCause::Cancelled);
        }
        file.rename(self.segment_path((task, attempt)))
            .map_err(|error| FailureCause::io(file.path(), &error))?;
        Ok(file)
    }

    /// Removes the folder. Concurrent requests for its outputs fail at once.
    pub(super) fn remove(&self) {
        *lock(&self.state) = State { is_removed: true, ..State::default() };
        remove_folder(&self.path);
    }

    fn next(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }
}
