//! The worker's folder: one worker at a time, and nothing in it is touched that no worker has made.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::ExecutorError;

/// Held with an exclusive lock by the worker that uses the folder. That it exists tells that the folder is a
/// worker's, so that what a dead predecessor left can be swept.
const LOCK_FILE: &str = "windrow-worker.lock";

/// Folders of jobs, also of those that were being removed.
const JOB_PREFIX: &str = "job-";

/// A locked folder; the lock ends with the process at the latest.
pub struct WorkerDirectory {
    path: PathBuf,
    _lock: File,
}

impl WorkerDirectory {
    /// Creates the folder where missing, locks it, and sweeps what a predecessor left.
    pub fn open(path: &Path) -> Result<Self, ExecutorError> {
        let io = |error| ExecutorError::Io { path: path.to_path_buf(), error };
        std::fs::create_dir_all(path).map_err(io)?;
        let lock_path = path.join(LOCK_FILE);
        if !lock_path.exists()
            && let Some(entry) = jobs(path).map_err(io)?.into_iter().next()
        {
            let entry = entry.file_name().unwrap_or_default().display().to_string();
            return Err(ExecutorError::ForeignDirectory { directory: path.to_path_buf(), entry });
        }
        let lock = lock(&lock_path).map_err(|error| match error {
            TryLockError::WouldBlock => {
                ExecutorError::DirectoryInUse { directory: path.to_path_buf() }
            }
            TryLockError::Error(error) => ExecutorError::Io { path: lock_path, error },
        })?;
        for stale in jobs(path).map_err(io)? {
            tracing::info!(path = %stale.display(), "sweeping what a former worker left");
            std::fs::remove_dir_all(&stale)
                .map_err(|error| ExecutorError::Io { path: stale, error })?;
        }
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path) -> Result<File, TryLockError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// The folders in `path` that are named like those of jobs.
fn jobs(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut jobs = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let is_job = entry.file_name().as_encoded_bytes().starts_with(JOB_PREFIX.as_bytes());
        if is_job && entry.file_type()?.is_dir() {
            jobs.push(entry.path());
        }
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_workers_cannot_have_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = WorkerDirectory::open(folder.path()).unwrap();
        let second = WorkerDirectory::open(folder.path()).err().unwrap();
        assert!(second.to_string().contains("in use by another worker"), "{second}");
        drop(first);
        WorkerDirectory::open(folder.path()).unwrap();
    }

    #[test]
    fn what_a_predecessor_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        drop(WorkerDirectory::open(folder.path()).unwrap());
        std::fs::create_dir_all(folder.path().join("job-1")).unwrap();
        std::fs::create_dir_all(folder.path().join("job-2.removed-0")).unwrap();
        std::fs::create_dir_all(folder.path().join("mine")).unwrap();
        std::fs::write(folder.path().join("job-notes"), "x").unwrap();
        let _directory = WorkerDirectory::open(folder.path()).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["job-notes", "mine", LOCK_FILE]);
    }

    #[test]
    fn a_folder_that_was_never_a_workers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("job-1/precious")).unwrap();
        let error = WorkerDirectory::open(folder.path()).err().unwrap();
        assert!(error.to_string().contains("contains job-1"), "{error}");
        assert!(folder.path().join("job-1/precious").exists());
        assert!(!folder.path().join(LOCK_FILE).exists());
    }
}
