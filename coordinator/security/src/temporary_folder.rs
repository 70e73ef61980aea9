//! A folder under the system's temporary folder, which is gone with the process.
//!
//! A killed process cannot remove its folder. So each folder has a lock, which ends with its
//! process in any case; whoever makes the next folder removes those whose lock is free.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::files::{FOLDER_OF_OWNER, keep_from_tidying, private};

/// In each folder, locked as long as its process lives.
const LOCK: &str = "in-use.lock";
/// Name of a lock file that is not held yet. It gets its final name once it is, so that a lock of
/// a living process is never found free.
const NEW_LOCK: &str = "in-use.new";

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryFolder {
    folder: TempDir,
    _lock: File,
    /// It may be used for longer than files stay in the temporary folder by themselves.
    _untidied: Option<File>,
}

impl TemporaryFolder {
    /// Removes folders that killed processes have left, and makes one whose name begins with
    /// `prefix` inside `above`. Blocks on the file system.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_in(above: &Path, prefix: &str) -> io::Result<Self> {
        sweep(above, prefix);
        let rights = fs::Permissions::from_mode(FOLDER_OF_OWNER);
        let folder =
            tempfile::Builder::new().prefix(prefix).permissions(rights).tempdir_in(above)?;
        let lock = lock(folder.path())?;
        let untidied = keep_from_tidying(folder.path());
        Ok(Self { folder, _lock: lock, _untidied: untidied })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn lock(folder: &Path) -> io::Result<File> {
    let new = folder.join(NEW_LOCK);
    let lock = private().write(true).create_new(true).open(&new)?;
    lock.try_lock()?;
    fs::rename(new, folder.join(LOCK))?;
    Ok(lock)
}

/// What cannot be removed stays, and is tried again next time.
fn sweep(above: &Path, prefix: &str) {
    for folder in fs::read_dir(above).into_iter().flatten().flatten() {
        let path = folder.path();
        if folder.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) && is_own(&path) {
            match remove_if_left(&path) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(path = %path.display(), "removed the folder of a killed process");
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove the folder of a killed process");
                }
            }
        }
    }
}

/// Others may make what they like in that folder, links among it.
fn is_own(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == user)
}

/// Removes a folder whose process is gone; the lock last, since without it nobody would know whose
/// it is.
fn remove_if_left(path: &Path) -> io::Result<bool> {
    let name = path.join(LOCK);
    let Ok(lock) = File::open(&name) else { return Ok(false) };
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    let entries: io::Result<Vec<PathBuf>> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
    for entry in entries?.into_iter().filter(|entry| *entry != name) {
        if entry.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(entry)?;
        } else {
            fs::remove_file(entry)?;
        }
    }
    fs::remove_dir_all(path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "windrow-test-";

    fn names(above: &Path) -> Vec<String> {
        let entries = fs::read_dir(above).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// As a killed process leaves it: the folder stays, the lock goes.
    fn left_behind(above: &Path) -> PathBuf {
        let TemporaryFolder { folder, .. } = TemporaryFolder::make_in(above, PREFIX).unwrap();
        let path = folder.keep();
        fs::create_dir_all(path.join("jobs/job-1")).unwrap();
        fs::write(path.join("jobs/job-1/segment"), "x").unwrap();
        path
    }

    #[test]
    fn what_killed_ones_have_left_is_removed_and_nothing_else() {
        let above = tempfile::tempdir().unwrap();
        let living = TemporaryFolder::make_in(above.path(), PREFIX).unwrap();
        fs::write(living.path().join("data"), "x").unwrap();
        let dead = left_behind(above.path());
        // Not locked: it may be somebody's who has only begun, or is no process's at all.
        for name in ["windrow-test-begun", "windrow-testing", "other"] {
            fs::create_dir(above.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(&dead, above.path().join("windrow-test-link")).unwrap();
        let next = TemporaryFolder::make_in(above.path(), PREFIX).unwrap();
        // As those do who tidy up by age.
        assert!(File::open(next.path()).unwrap().try_lock().is_err());
        assert!(!dead.exists() && living.path().join("data").exists());
        let name = |folder: &TemporaryFolder| {
            folder.path().file_name().unwrap().to_str().unwrap().to_string()
        };
        let mut expected = vec![name(&living), name(&next)];
        expected.extend(
            ["other", "windrow-test-begun", "windrow-test-link", "windrow-testing"]
                .map(String::from),
        );
        expected.sort();
        assert_eq!(names(above.path()), expected);
        drop((living, next));
        assert_eq!(names(above.path()).len(), 4);
    }
}
