//! The folder that `windrow coordinator --state` is given: whose it is, and where that one can be reached.
//!
//! The journal in it keeps coordinators apart that share it. This only sees to it that nobody is replaced by mistake, and
//! that a copy is not taken for the original: a copy's coordinator could not know what became of its jobs since.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::CliError;

/// Locked by whoever runs on the folder.
const LOCK: &str = "lock";
/// Where the coordinator can be reached.
const ADDRESS: &str = "address";
/// Where the folder itself was when it was last used.
const HOME: &str = "home";

/// A folder that this process has taken, until this is dropped.
#[derive(Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
    _lock: File,
}

impl StateFolder {
    /// Takes the folder, making it if need be.
    pub(crate) fn take(path: &Path, take_over: bool) -> Result<Self, CliError> {
        fs::create_dir_all(path).map_err(CliError::io(path))?;
        let path = fs::canonicalize(path).map_err(CliError::io(path))?;
        refuse_copy(&path)?;
        let lock = lock(&path, take_over)?;
        if !take_over {
            // A predecessor's, which leads nowhere now. One that is to be replaced may still serve.
            let _ = fs::remove_file(path.join(ADDRESS));
        }
        let taken = Self { path, _lock: lock };
        taken.replace(HOME, &taken.path.display().to_string())?;
        Ok(taken)
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells everybody who can read the folder where its coordinator is.
    pub(crate) fn publish_address(&self, url: &str) -> Result<(), CliError> {
        self.replace(ADDRESS, url)
    }

    /// Writes a file under a temporary name first, so that nobody reads half of it. One that says so already stays: on a
    /// full disk, a coordinator can start again where it was.
    fn replace(&self, name: &str, line: &str) -> Result<(), CliError> {
        let (path, temporary) = (self.path.join(name), self.path.join(format!("{name}.tmp")));
        let text = format!("{line}\n");
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        fs::write(&temporary, text).map_err(CliError::io(&temporary))?;
        fs::rename(&temporary, &path).map_err(CliError::io(&path))
    }
}

/// A folder that was moved has left its old place. One that was copied has not.
fn refuse_copy(path: &Path) -> Result<(), CliError> {
    let home = path.join(HOME);
    let Ok(text) = fs::read_to_string(&home) else { return Ok(()) };
    let original = Path::new(text.trim_end_matches('\n'));
    if original == path || !original.join(HOME).exists() {
        return Ok(());
    }
    Err(CliError::Other(format!(
        "{} is a copy of {}, and only one of them may ever run: their jobs have the same output folders; if it is to be \
         this one, remove the original, or {}",
        path.display(),
        original.display(),
        home.display()
    )))
}

fn lock(state: &Path, take_over: bool) -> Result<File, CliError> {
    let path = state.join(LOCK);
    if take_over {
        // Whoever has it locked keeps a file that has no name any more.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CliError::Io { path, error });
            }
            _ => {}
        }
    }
    let file = File::create(&path).map_err(CliError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CliError::Other(format!(
            "{} belongs to another coordinator that runs; --take-over replaces it",
            state.display()
        ))),
        Err(TryLockError::Error(error)) => Err(CliError::Io { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_refused_and_a_moved_folder_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let original = dir.path().join("original");
        drop(StateFolder::take(&original, false).unwrap());
        let moved = dir.path().join("moved");
        fs::rename(&original, &moved).unwrap();
        drop(StateFolder::take(&moved, false).unwrap());
        let copy = dir.path().join("copy");
        fs::create_dir(&copy).unwrap();
        fs::copy(moved.join(HOME), copy.join(HOME)).unwrap();
        let refused = StateFolder::take(&copy, false).unwrap_err().to_string();
        assert!(refused.contains("is a copy of"), "{refused}");
        drop(StateFolder::take(&moved, false).unwrap());
        fs::remove_dir_all(&moved).unwrap();
        StateFolder::take(&copy, false).unwrap();
    }
}
