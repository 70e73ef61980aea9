//! The segments that this worker holds, and their files:
//!
//! ```text
//!  <worker directory>/jobs/job-7/map-00003.1.segment     map task 3, attempt 1
//!                                scratch-12              a spilled run, removed by its attempt
//! ```
//!
//! The output of a map attempt is such a file, or stays in memory until memory is short:
//! [`SegmentStore::evict_largest`] writes it. Readers get sources, and need not know which.

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

/// Number of a map task, and number of its attempt.
type Output = (u32, u32);

/// The path of a map attempt's output, for a worker with this folder.
pub fn segment_path(directory: &Path, job: JobId, task: u32, attempt: u32) -> PathBuf {
    directory.join(job.to_string()).join(segment_name(task, attempt))
}

/// The upper half of a serial number is the number of the process.
const PROCESS_SHIFT: u32 = 32;

const SCRATCH_PREFIX: &str = "scratch-";

/// Removes the spilled runs that a dead process has left in a job's folder.
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

/// The folders of all jobs of which this process has run attempts.
pub struct SegmentStore {
    directory: PathBuf,
    jobs: Mutex<HashMap<JobId, Arc<JobFolder>>>,
    /// Makes the names of scratch files and removed folders unique.
    serial: Arc<AtomicU64>,
}

impl SegmentStore {
    /// A store in a folder to which only this worker's processes write, each under names of its
    /// own: `process` is the number of this one.
    pub fn new(directory: PathBuf, process: u32) -> Self {
        let serial = Arc::new(AtomicU64::new(u64::from(process) << PROCESS_SHIFT));
        Self { directory, jobs: Mutex::default(), serial }
    }

    /// The folder of a job with this number and identity, created when first asked for.
    pub fn folder(
        &self,
        job: JobId,
        identity: JobIdentity,
    ) -> Result<Arc<JobFolder>, FailureCause> {
        let mut jobs = lock(&self.jobs);
        if let Some(folder) = jobs.get(&job) {
            debug_assert_eq!(
                folder.job(),
                identity,
                "within a session, a job number belongs to one job"
            );
            return Ok(Arc::clone(folder));
        }
        let path = self.directory.join(job.to_string());
        make_private_folder(&path).map_err(|error| FailureCause::io(&path, &error))?;
        let folder = JobFolder::new(path, identity, Arc::clone(&self.serial));
        Ok(Arc::clone(jobs.entry(job).or_insert(Arc::new(folder))))
    }

    /// The folder of a job, if it is here.
    pub fn of(&self, identity: JobIdentity) -> Option<Arc<JobFolder>> {
        lock(&self.jobs).values().find(|folder| folder.job() == identity).cloned()
    }

    /// The pairs of `partition` in the output of a map attempt, in memory or in a file: a source
    /// for each run that has some. An error if there is no such output.
    pub fn sources(
        &self,
        job: JobId,
        output: Output,
        partition: u32,
    ) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
        let folder = lock(&self.jobs).get(&job).cloned();
        let folder = folder.ok_or_else(|| {
            corrupt(&self.segment_path(job, output.0, output.1), 0, "its job is not here")
        })?;
        folder.sources(output, partition)
    }

    /// Whether there is such an output, in memory or as a file.
    pub fn has(&self, job: JobId, output: Output) -> bool {
        let folder = lock(&self.jobs).get(&job).cloned();
        let is_held = folder.is_some_and(|folder| folder.held(output).is_some());
        // An output that is moving out of memory has its file before it leaves the map.
        is_held || self.segment_path(job, output.0, output.1).exists()
    }

    /// Writes outputs in memory to their files, the largest first, until `is_enough`, or until none
    /// is left that can be written. Concurrent callers write different ones.
    pub fn evict_until(&self, mut is_enough: impl FnMut() -> bool) -> bool {
        loop {
            if is_enough() {
                return true;
            }
            match self.evict_largest() {
                Ok(freed) if freed > 0 => {}
                Ok(_) => return false,
                Err(cause) => {
                    tracing::warn!(%cause, "cannot move an output from memory to disk");
                    return false;
                }
            }
        }
    }

    /// Writes the largest output in memory to its file. Returns the bytes that are freed once
    /// nobody reads it any more; 0 if none is in memory.
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

    /// The path that a segment has, or would have.
    pub fn segment_path(&self, job: JobId, task: u32, attempt: u32) -> PathBuf {
        segment_path(&self.directory, job, task, attempt)
    }

    /// Removes one output, in memory or on disk.
    pub fn discard(&self, job: JobId, output: Output) {
        let folder = lock(&self.jobs).get(&job).cloned();
        if let Some(folder) = folder {
            folder.discard(output);
        }
    }

    /// Frees the disk space of a partition of the outputs in files: nobody will read it again, and
    /// reading it fails.
    pub fn free_partition(&self, job: JobId, partition: u32) {
        let folder = lock(&self.jobs).get(&job).cloned();
        if let Some(folder) = folder {
            folder.free_partition(partition);
        }
    }

    /// Removes all files of the job. Attempts that are still running cannot add any.
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

/// The pairs of `partition` in a segment file of `owner`: a source for each run that has some.
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
