//! The segments that this worker holds, and where they lie:
//!
//! ```text
//!  <worker directory>/job-7/map-00003.1.segment     map task 3, attempt 1
//!                           scratch-12              a spilled run, removed by the attempt that made it
//! ```
//!
//! The output of a map attempt is such a file, or stays in memory until memory is short: [`SegmentStore::evict_largest`]
//! writes it. Nobody else knows which: readers get sources.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use windrow_jobs::{FailureCause, JobId};

use super::block::Codec;
use super::pairs::{MemorySource, SortedPairs};
use super::segment::{MemorySegment, Segment, SegmentWriter};
use super::source::BlockSource;
use super::spill::write_partition;
use crate::files::TemporaryFile;
use crate::sync::lock;

/// A map task's number, and that of an attempt of it.
type Output = (u32, u32);

/// Where the worker whose folder is `directory` has the output of an attempt of a map task.
pub fn segment_path(directory: &Path, job: JobId, task: u32, attempt: u32) -> PathBuf {
    directory.join(job.to_string()).join(segment_name(task, attempt))
}

fn segment_name(task: u32, attempt: u32) -> String {
    format!("map-{task:05}.{attempt}.segment")
}

/// The folders of all jobs that this worker has run attempts of.
pub struct SegmentStore {
    directory: PathBuf,
    jobs: Mutex<HashMap<JobId, Arc<JobFolder>>>,
    /// Makes the names of scratch files and removed folders unique.
    serial: Arc<AtomicU64>,
}

impl SegmentStore {
    /// A store in a folder that nobody else writes to.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, jobs: Mutex::default(), serial: Arc::default() }
    }

    /// The job's folder, created when first asked for.
    pub fn folder(&self, job: JobId) -> Result<Arc<JobFolder>, FailureCause> {
        let mut jobs = lock(&self.jobs);
        if let Some(folder) = jobs.get(&job) {
            return Ok(Arc::clone(folder));
        }
        let path = self.directory.join(job.to_string());
        std::fs::create_dir_all(&path).map_err(|error| FailureCause::io(&path, &error))?;
        let folder = JobFolder { path, state: Mutex::default(), serial: Arc::clone(&self.serial) };
        Ok(Arc::clone(jobs.entry(job).or_insert(Arc::new(folder))))
    }

    /// The pairs of `partition` in the output of a map attempt, wherever it is: a source for each of its runs that has
    /// some. An error if there is no such output.
    pub fn sources(
        &self,
        job: JobId,
        (task, attempt): Output,
        partition: u32,
    ) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
        let folder = lock(&self.jobs).get(&job).cloned();
        if let Some(segment) = folder.and_then(|folder| folder.held((task, attempt))) {
            let source = MemorySource::new(segment, partition);
            return Ok(source.map(|source| Box::new(source) as _).into_iter().collect());
        }
        // What was in memory a moment ago has its file before it is forgotten.
        file_sources(&self.segment_path(job, task, attempt), partition)
    }

    /// Writes the largest output that is in memory to its file. Returns the bytes that are freed once nobody reads it
    /// any more; 0 if none is in memory.
    pub fn evict_largest(&self) -> Result<u64, FailureCause> {
        loop {
            let folders: Vec<_> = lock(&self.jobs).values().cloned().collect();
            let held = folders.iter().filter_map(|folder| Some((folder.largest()?, folder)));
            let Some(((_, output), folder)) = held.max_by_key(|((bytes, _), _)| *bytes) else {
                return Ok(0);
            };
            // If another thread has been faster, the next one is the largest.
            if let Some(segment) = folder.claim(output) {
                return folder.evict(output, &segment);
            }
        }
    }

    /// Where a segment is, or would be.
    pub fn segment_path(&self, job: JobId, task: u32, attempt: u32) -> PathBuf {
        segment_path(&self.directory, job, task, attempt)
    }

    /// Removes all that the job has here. Attempts of it that are still running cannot leave anything any more.
    pub fn release(&self, job: JobId) {
        let folder = lock(&self.jobs).remove(&job);
        if let Some(folder) = folder {
            folder.remove();
        }
    }

    /// Removes all jobs.
    pub fn release_all(&self) {
        let jobs = std::mem::take(&mut *lock(&self.jobs));
        for folder in jobs.into_values() {
            folder.remove();
        }
    }
}

impl Drop for SegmentStore {
    fn drop(&mut self) {
        self.release_all();
    }
}

/// The pairs of `partition` in a segment file: a source for each of its runs that has some.
pub fn file_sources(
    path: &Path,
    partition: u32,
) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
    let segment = Segment::open(path)?;
    Ok(segment.sources(partition).map(|source| Box::new(source) as _).collect())
}

/// The folder of one job and its outputs in memory, until the job is released.
pub struct JobFolder {
    path: PathBuf,
    state: Mutex<State>,
    serial: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    is_removed: bool,
    held: HashMap<Output, Held>,
}

struct Held {
    segment: Arc<MemorySegment>,
    /// Somebody writes it to its file.
    is_claimed: bool,
}

/// An output that was put into the store; removed, wherever it is by then, when this is dropped, unless it is kept.
pub struct HeldSegment {
    folder: Arc<JobFolder>,
    output: Output,
    kept: bool,
}

impl HeldSegment {
    /// Leaves the output in the store.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for HeldSegment {
    fn drop(&mut self) {
        if !self.kept {
            lock(&self.folder.state).held.remove(&self.output);
            drop(TemporaryFile::new(self.folder.segment_path(self.output)));
        }
    }
}

impl JobFolder {
    /// Keeps a finished segment in memory, unless the job has been released in the meantime.
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

    fn held(&self, output: Output) -> Option<Arc<MemorySegment>> {
        lock(&self.state).held.get(&output).map(|held| Arc::clone(&held.segment))
    }

    /// Size and name of the largest output in memory that nobody is writing yet.
    fn largest(&self) -> Option<(u64, Output)> {
        let state = lock(&self.state);
        let free = state.held.iter().filter(|(_, held)| !held.is_claimed);
        free.map(|(output, held)| (held.segment.memory_bytes(), *output)).max()
    }

    fn claim(&self, output: Output) -> Option<Arc<MemorySegment>> {
        let mut state = lock(&self.state);
        let held = state.held.get_mut(&output).filter(|held| !held.is_claimed)?;
        held.is_claimed = true;
        Some(Arc::clone(&held.segment))
    }

    /// Writes a segment that has been claimed, and forgets it once its file is there.
    fn evict(&self, output: Output, segment: &MemorySegment) -> Result<u64, FailureCause> {
        let written = self.write(segment);
        let mut state = lock(&self.state);
        let Some(held) = state.held.get_mut(&output) else {
            // Its job or its attempt has ended. The file goes with `written`.
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

    fn write(&self, segment: &MemorySegment) -> Result<TemporaryFile, FailureCause> {
        let writer = SegmentWriter::create(self.scratch_path(), Codec::None)?;
        let run = writer.begin_run();
        let index = (0..segment.partitions())
            .map(|partition| write_partition(run, segment, partition))
            .collect::<Result<_, _>>()?;
        Ok(writer.finish(index)?.0)
    }

    fn segment_path(&self, (task, attempt): Output) -> PathBuf {
        self.path.join(segment_name(task, attempt))
    }

    /// A file name that nobody else uses.
    pub fn scratch_path(&self) -> PathBuf {
        self.path.join(format!("scratch-{}", self.next()))
    }

    /// Gives a finished segment its final name, unless the job has been released in the meantime. The file is
    /// removed when the guard is dropped, as before.
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

    /// Moves the folder away first, so that nothing can be created in it while it is emptied.
    fn remove(&self) {
        let mut state = lock(&self.state);
        *state = State { is_removed: true, held: HashMap::new() };
        let doomed = self.path.with_extension(format!("removed-{}", self.next()));
        let removed =
            std::fs::rename(&self.path, &doomed).and_then(|()| std::fs::remove_dir_all(&doomed));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "segments could not be removed");
            }
            _ => {}
        }
    }

    fn next(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_job_leaves_nothing_and_takes_nothing_more() {
        let directory = tempfile::tempdir().unwrap();
        let store = SegmentStore::new(directory.path().into());
        let folder = store.folder(JobId(7)).unwrap();
        let scratch = || {
            let path = folder.scratch_path();
            std::fs::write(&path, "x").unwrap();
            TemporaryFile::new(path)
        };
        let (early, late) = (scratch(), scratch());
        folder.publish(early, 3, 1).unwrap().keep();
        assert!(store.segment_path(JobId(7), 3, 1).exists());
        store.release(JobId(7));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(folder.publish(late, 4, 1).unwrap_err(), FailureCause::Cancelled);
    }

    #[test]
    fn an_attempt_of_a_released_job_cannot_leave_a_segment_in_a_later_job_of_that_number() {
        let directory = tempfile::tempdir().unwrap();
        let store = SegmentStore::new(directory.path().into());
        let old = store.folder(JobId(1)).unwrap();
        store.release(JobId(1));
        store.folder(JobId(1)).unwrap();
        let path = old.scratch_path();
        std::fs::write(&path, "late").unwrap();
        assert!(old.publish(TemporaryFile::new(path.clone()), 0, 1).is_err());
        assert!(!path.exists() && !store.segment_path(JobId(1), 0, 1).exists());
    }
}
