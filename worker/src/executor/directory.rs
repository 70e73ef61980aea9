//! The worker's folder: used by one worker at a time, which touches only files made by workers.
//!
//! ```text
//!  windrow-worker.lock   marks the folder as a worker's; locked by the worker that uses it
//!  jobs/job-7/           files of job 7: map outputs, mostly. Other workers of the
//!                        machine may read them
//!  credentials/, programs/
//! ```

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use windrow_security::files::{
    keep_from_tidying, make_folder_of_owner, make_private_folder, private,
};

use super::ExecutorError;
use crate::files::{OF_A_FOLDER, give_back_at, put_aside, remove_tree};

/// Locked exclusively by the worker that uses the folder. Its existence marks the folder as a
/// worker's, so that the files of a dead predecessor can be swept.
pub(crate) const LOCK_FILE: &str = "windrow-worker.lock";

/// The files that other workers of the machine may read are in a folder that exists before any job:
/// so a process can be allowed to read everything that is put into it later.
pub(crate) const JOBS: &str = "jobs";

/// Prefix of the folders of jobs, including those that were being removed.
const JOB_PREFIX: &str = "job-";

/// A locked folder; the lock ends with the process at the latest.
pub struct WorkerDirectory {
    path: PathBuf,
    jobs: PathBuf,
    _lock: File,
    /// Keeps the folder from being cleaned up if it lies in a temporary folder and is used for
    /// longer than files last there.
    _untidied: Option<File>,
}

/// The folder with the jobs' folders, in a worker's folder.
pub(crate) fn jobs_folder(path: &Path) -> PathBuf {
    path.join(JOBS)
}

impl WorkerDirectory {
    /// Creates the folder if it is missing, locks it, and sweeps a predecessor's files.
    #[cfg(test)]
    pub fn open(path: &Path) -> Result<Self, ExecutorError> {
        Self::open_after(path, |_| Ok(()))
    }

    /// Likewise; `before` is called with the folders that are about to be swept.
    pub fn open_after(
        path: &Path,
        before: impl FnOnce(&[PathBuf]) -> io::Result<()>,
    ) -> Result<Self, ExecutorError> {
        let io = |error| ExecutorError::Io { path: path.to_path_buf(), error };
        let jobs_path = jobs_folder(path);
        // The files of jobs are not for every user.
        make_folder_of_owner(path).map_err(io)?;
        let lock_path = path.join(LOCK_FILE);
        if !lock_path.exists()
            && jobs_path.exists()
            && let Some(entry) = jobs(&jobs_path).map_err(io)?.into_iter().next()
        {
            let entry = entry.file_name().unwrap_or_default().display().to_string();
            return Err(ExecutorError::ForeignDirectory { directory: path.to_path_buf(), entry });
        }
        ready_jobs_folder(&jobs_path).map_err(io)?;
        let lock = lock(&lock_path).map_err(|error| match error {
            TryLockError::WouldBlock => {
                ExecutorError::DirectoryInUse { directory: path.to_path_buf() }
            }
            TryLockError::Error(error) => ExecutorError::Io { path: lock_path, error },
        })?;
        let stale = jobs(&jobs_path).map_err(io)?;
        before(&stale).map_err(io)?;
        stale.iter().try_for_each(|folder| sweep(folder))?;
        let untidied = keep_from_tidying(path);
        Ok(Self { path: path.to_path_buf(), jobs: jobs_path, _lock: lock, _untidied: untidied })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the folder with the jobs' folders.
    pub fn jobs(&self) -> &Path {
        &self.jobs
    }
}

/// Creates the folder of the jobs' folders, or restores its permissions: jobs of other workers of
/// the machine can open it, and so remove them.
pub(crate) fn ready_jobs_folder(path: &Path) -> io::Result<()> {
    match give_back_at(path, OF_A_FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        given => given?,
    }
    make_private_folder(path)
}

/// Removes the folder of a former worker's job. If it cannot be removed, it is renamed at least: a
/// later job may have the same number.
fn sweep(stale: &Path) -> Result<(), ExecutorError> {
    tracing::info!(path = %stale.display(), "removing files of a former worker");
    let failed = |error| ExecutorError::Io { path: stale.to_path_buf(), error };
    let aside = match stale.extension() {
        None => put_aside(stale).map_err(failed)?,
        Some(_) => stale.to_path_buf(),
    };
    if let Err(error) = remove_tree(&aside) {
        tracing::warn!(path = %aside.display(), %error, "cannot remove files of a former worker; remove them yourself");
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, TryLockError> {
    let file = private()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// The folders in `path` with names of jobs.
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
    use crate::files::testing::without_privileges;

    #[test]
    fn two_workers_cannot_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = WorkerDirectory::open(folder.path()).unwrap();
        let second = WorkerDirectory::open(folder.path()).err().unwrap();
        assert!(second.to_string().contains("in use by another worker"), "{second}");
        drop(first);
        WorkerDirectory::open(folder.path()).unwrap();
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_a_predecessors_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = WorkerDirectory::open(folder.path()).unwrap().jobs().to_path_buf();
        std::fs::create_dir_all(jobs.join("job-1")).unwrap();
        std::fs::create_dir_all(jobs.join("job-2.removed-0")).unwrap();
        std::fs::create_dir_all(folder.path().join("mine")).unwrap();
        std::fs::write(jobs.join("job-notes"), "x").unwrap();
        let _directory = WorkerDirectory::open(folder.path()).unwrap();
        assert_eq!(names(folder.path()), [JOBS, "mine", LOCK_FILE]);
        assert_eq!(names(&jobs), ["job-notes"]);
    }

    /// A worker starts whatever a job has left in the folder.
    #[test]
    fn folders_without_permissions_are_swept() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let jobs = WorkerDirectory::open(folder.path()).unwrap().jobs().to_path_buf();
        std::fs::create_dir_all(jobs.join("job-1/tmp/closed/in")).unwrap();
        std::fs::create_dir_all(jobs.join("job-1.removed-0")).unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (path, mode) in
            [("job-1/tmp/closed/in", 0), ("job-1/tmp/closed", 0o555), ("job-1", 0), ("", 0)]
        {
            set(&jobs.join(path), mode);
        }
        without_privileges(|| drop(WorkerDirectory::open(folder.path()).unwrap()));
        assert_eq!(names(&jobs), Vec::<String>::new());
    }

    /// Files of another user, as a setuid program may leave them.
    #[test]
    fn a_folder_that_cannot_be_swept_is_moved_aside() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let jobs = WorkerDirectory::open(folder.path()).unwrap().jobs().to_path_buf();
        let closed = jobs.join("job-1/others");
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::write(closed.join("file"), "x").unwrap();
        std::os::unix::fs::chown(&closed, Some(42_010), Some(42_010)).unwrap();
        without_privileges(|| drop(WorkerDirectory::open(folder.path()).unwrap()));
        assert_eq!(names(&jobs), ["job-1.removed-0"]);
    }

    #[test]
    fn a_new_folder_is_private_to_its_owner() {
        use std::os::unix::fs::PermissionsExt;

        let above = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (made, there) = (above.path().join("a/made"), above.path().join("there"));
        std::fs::create_dir(&there).unwrap();
        let before = mode(&there);
        for (path, expected) in [(&made, 0o700), (&there, before)] {
            drop(WorkerDirectory::open(path).unwrap());
            assert_eq!(mode(path), expected, "{}", path.display());
        }
    }

    #[test]
    fn a_folder_that_was_never_a_workers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("jobs/job-1/precious");
        std::fs::create_dir_all(&precious).unwrap();
        let error = WorkerDirectory::open(folder.path()).err().unwrap();
        assert!(error.to_string().contains("contains job-1"), "{error}");
        assert!(precious.exists());
        assert!(!folder.path().join(LOCK_FILE).exists());
    }
}
