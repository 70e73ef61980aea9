//! The segments that this worker holds, and where they lie:
//!
//! ```text
//!  <worker directory>/job-7/map-00003.1.segment     map task 3, attempt 1
//!                           scratch-12              a spilled run, removed by the attempt that made it
//! ```
//!
//! All segments are files, which the system's page cache keeps in memory while there is room. Nobody else knows
//! that: readers get sources, so that small segments could stay in memory instead.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use windrow_jobs::{FailureCause, JobId};

use crate::files::TemporaryFile;
use crate::sync::lock;

/// Where the worker whose folder is `directory` has the output of an attempt of a map task.
pub fn segment_path(directory: &Path, job: JobId, task: u32, attempt: u32) -> PathBuf {
    directory.join(job.to_string()).join(format!("map-{task:05}.{attempt}.segment"))
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
        let folder =
            JobFolder { path, is_removed: Mutex::new(false), serial: Arc::clone(&self.serial) };
        Ok(Arc::clone(jobs.entry(job).or_insert(Arc::new(folder))))
    }

    /// The folder that all others lie in.
    pub fn directory(&self) -> &Path {
        &self.directory
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

/// The folder of one job, until the job is released.
pub struct JobFolder {
    path: PathBuf,
    is_removed: Mutex<bool>,
    serial: Arc<AtomicU64>,
}

impl JobFolder {
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
        let is_removed = lock(&self.is_removed);
        if *is_removed {
            return Err(FailureCause::Cancelled);
        }
        let path = self.path.join(format!("map-{task:05}.{attempt}.segment"));
        file.rename(path).map_err(|error| FailureCause::io(file.path(), &error))?;
        Ok(file)
    }

    /// Moves the folder away first, so that nothing can be created in it while it is emptied.
    fn remove(&self) {
        let mut is_removed = lock(&self.is_removed);
        *is_removed = true;
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
