//! The segments that this worker holds, and where they lie:
//!
//! ```text
//!  <worker directory>/jobs/job-7/map-00003.1.segment     map task 3, attempt 1
//!                                scratch-12              a spilled run, removed by its attempt
//! ```
//!
//! The output of a map attempt is such a file, or stays in memory until memory is short:
//! [`SegmentStore::evict_largest`] writes it. Nobody else knows which: readers get sources.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use windrow_jobs::{FailureCause, JobId, JobIdentity};
use windrow_security::files::make_private_folder;

use super::segment::{Owner, Segment, corrupt};
use super::source::BlockSource;
use crate::sync::lock;

mod folder;
#[cfg(test)]
mod tests;

pub use folder::{HeldSegment, JobFolder};

/// A map task's number, and that of an attempt of it.
type Output = (u32, u32);

/// Where the worker whose folder is `directory` has the output of an attempt of a map task.
pub fn segment_path(directory: &Path, job: JobId, task: u32, attempt: u32) -> PathBuf {
    directory.join(job.to_string()).join(segment_name(task, attempt))
}

/// The number of a process is above this bit in its serial numbers.
const PROCESS_SHIFT: u32 = 32;

const SCRATCH_PREFIX: &str = "scratch-";

/// Removes the spilled runs that a process left in a job's folder when it died.
pub fn sweep_scratch(directory: &Path, job: JobId, process: u32) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory.join(job.to_string()))? {
        let entry = entry?;
        let name = entry.file_name();
        let serial = name.to_str().and_then(|name| name.strip_prefix(SCRATCH_PREFIX)?.parse().ok());
        if serial.is_some_and(|serial: u64| serial >> PROCESS_SHIFT == u64::from(process)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
    /// A store in a folder that only this worker's processes write to, each under names of its own:
    /// `process` is the number of this one.
    pub fn new(directory: PathBuf, process: u32) -> Self {
        let serial = Arc::new(AtomicU64::new(u64::from(process) << PROCESS_SHIFT));
        Self { directory, jobs: Mutex::default(), serial }
    }

    /// The folder of a job of this number and identity, created when first asked for.
    pub fn folder(
        &self,
        job: JobId,
        identity: JobIdentity,
    ) -> Result<Arc<JobFolder>, FailureCause> {
        let mut jobs = lock(&self.jobs);
        if let Some(folder) = jobs.get(&job) {
            debug_assert_eq!(folder.job(), identity, "a session gives a number to one job");
            return Ok(Arc::clone(folder));
        }
        let path = self.directory.join(job.to_string());
        make_private_folder(&path).map_err(|error| FailureCause::io(&path, &error))?;
        let folder = JobFolder::new(path, identity, Arc::clone(&self.serial));
        Ok(Arc::clone(jobs.entry(job).or_insert(Arc::new(folder))))
    }

    /// The folder of a job, if there is anything of it here.
    pub fn of(&self, identity: JobIdentity) -> Option<Arc<JobFolder>> {
        lock(&self.jobs).values().find(|folder| folder.job() == identity).cloned()
    }

    /// The pairs of `partition` in the output of a map attempt, wherever it is: a source for each
    /// of its runs that has some. An error if there is no such output.
    pub fn sources(
        &self,
        job: JobId,
        output: Output,
        partition: u32,
    ) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
        let folder = lock(&self.jobs).get(&job).cloned();
        let folder = folder.ok_or_else(|| {
            corrupt(
                &self.segment_path(job, output.0, output.1),
                0,
                "there is nothing of its job here",
            )
        })?;
        folder.sources(output, partition)
    }

    /// Whether there is such an output, in memory or as a file.
    pub fn has(&self, job: JobId, output: Output) -> bool {
        let folder = lock(&self.jobs).get(&job).cloned();
        let is_held = folder.is_some_and(|folder| folder.held(output).is_some());
        // What was in memory a moment ago has its file before it is forgotten.
        is_held || self.segment_path(job, output.0, output.1).exists()
    }

    /// Writes outputs that are in memory to their files, the largest first, until `is_enough`, or
    /// until none is left that can be written. Several callers write different ones.
    pub fn evict_until(&self, mut is_enough: impl FnMut() -> bool) -> bool {
        loop {
            if is_enough() {
                return true;
            }
            match self.evict_largest() {
                Ok(freed) if freed > 0 => {}
                Ok(_) => return false,
                Err(cause) => {
                    tracing::warn!(%cause, "an output cannot be moved from memory to disk");
                    return false;
                }
            }
        }
    }

    /// Writes the largest output that is in memory to its file. Returns the bytes that are freed
    /// once nobody reads it any more; 0 if none is in memory.
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

    /// Removes one output, wherever it is.
    pub fn discard(&self, job: JobId, output: Output) {
        let folder = lock(&self.jobs).get(&job).cloned();
        if let Some(folder) = folder {
            folder.discard(output);
        }
    }

    /// Deletes a partition of the outputs that are in files, to make room: nobody will read it
    /// again. Whoever tries gets an error.
    pub fn release_partition(&self, job: JobId, partition: u32) {
        let folder = lock(&self.jobs).get(&job).cloned();
        if let Some(folder) = folder {
            folder.release_partition(partition);
        }
    }

    /// Removes all that the job has here. Attempts of it that are still running cannot leave
    /// anything any more.
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

/// The pairs of `partition` in a segment file of `owner`: a source for each of its runs that has
/// some.
pub fn file_sources(
    path: &Path,
    owner: &Owner,
    partition: u32,
) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
    Ok(boxed(Segment::open(path, owner, 0)?.sources(partition)?))
}

fn boxed(sources: Vec<impl BlockSource + 'static>) -> Vec<Box<dyn BlockSource>> {
    sources.into_iter().map(|source| Box::new(source) as _).collect()
}
