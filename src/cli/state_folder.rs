//! The folder of `windrow coordinator --state`: which coordinator runs on it, and its address.
//!
//! The journal fences coordinators that share the folder. This module only prevents mistakes:
//! replacing a running coordinator, or taking a copy for the original. A copy's coordinator could
//! not know what became of its jobs since.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use windrow_jobs::one_line;
use windrow_security::files::{create_private, make_folder_of_owner, read};

use super::error::CliError;

/// Locked by whoever runs on the folder.
const LOCK: &str = "lock";
/// Locked by whoever is about to replace that one.
const NEXT_LOCK: &str = "lock.next";
/// Where the coordinator can be reached.
const ADDRESS: &str = "address";
/// Where the folder itself was when it was last used.
const HOME: &str = "home";
/// One of these is in each folder that a coordinator has used, however it ended.
const OWN: [&str; 4] = [LOCK, NEXT_LOCK, HOME, "journal"];

/// A folder that this process has taken, until this is dropped.
#[derive(Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
    take_over: bool,
    _lock: File,
}

impl StateFolder {
    /// Takes the folder, making it if need be.
    pub(crate) fn take(path: &Path, take_over: bool) -> Result<Self, CliError> {
        make_folder_of_owner(path)
            .map_err(|error| CliError::io(path)(error).given_by("--state"))?;
        let path = fs::canonicalize(path).map_err(CliError::io(path))?;
        refuse_foreign(&path)?;
        refuse_copy(&path)?;
        let lock = lock(&path, take_over)?;
        if !take_over {
            // A predecessor's, which leads nowhere now. One that is to be replaced may still serve.
            let _ = fs::remove_file(path.join(ADDRESS));
        }
        let taken = Self { path, take_over, _lock: lock };
        taken.replace(HOME, &taken.path.display().to_string())?;
        Ok(taken)
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that this process is in charge, and its address for everybody who can read the folder.
    /// The predecessor keeps a lock on a file that has no name any more.
    pub(crate) fn take_charge(&self, url: &str) -> Result<(), CliError> {
        if self.take_over {
            let lock = self.path.join(LOCK);
            fs::rename(self.path.join(NEXT_LOCK), &lock).map_err(CliError::io(&lock))?;
        }
        self.replace(ADDRESS, url)
    }

    /// Writes a file under a temporary name first, so that nobody reads half of it. One that says
    /// so already stays: on a full disk, a coordinator can start again where it was.
    fn replace(&self, name: &str, line: &str) -> Result<(), CliError> {
        let (path, temporary) = (self.path.join(name), self.path.join(format!("{name}.tmp")));
        let text = format!("{line}\n");
        if read(&path).is_ok_and(|there| there == text.as_bytes()) {
            return Ok(());
        }
        let write = || {
            let mut file = create_private(&temporary)?;
            file.write_all(text.as_bytes())?;
            // A power failure must not leave an empty file by the final name.
            file.sync_all()
        };
        write().map_err(CliError::io(&temporary))?;
        fs::rename(&temporary, &path).map_err(CliError::io(&path))
    }
}

/// Refuses a folder that holds anything before a coordinator has used it. Hidden files and
/// `lost+found` are the file system's.
fn refuse_foreign(path: &Path) -> Result<(), CliError> {
    let names = fs::read_dir(path).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()
    });
    let names = names.map_err(CliError::io(path))?;
    if names.iter().any(|name| OWN.iter().any(|own| name == own)) {
        return Ok(());
    }
    let is_foreign =
        |name: &&OsString| *name != "lost+found" && !name.as_encoded_bytes().starts_with(b".");
    match names.iter().find(is_foreign) {
        None => Ok(()),
        Some(foreign) => Err(CliError::Other(format!(
            "--state {}: it contains {}, which is not a coordinator's; name a folder of its own, such as {}",
            path.display(),
            one_line(&foreign.to_string_lossy()),
            path.join("state").display()
        ))),
    }
}

/// Tells a copy from the original: a moved folder is gone from its old place, a copied one is not,
/// and one that is mounted twice is the same file in both places.
fn refuse_copy(path: &Path) -> Result<(), CliError> {
    let home = path.join(HOME);
    let Ok(text) = read(&home) else { return Ok(()) };
    let text = String::from_utf8_lossy(&text);
    let original = Path::new(text.trim_end_matches('\n'));
    let same_file = |there: Metadata| {
        let here = fs::metadata(&home);
        here.is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
    };
    let is_elsewhere = original.is_absolute() && original != path;
    if !is_elsewhere || fs::metadata(original.join(HOME)).map_or(true, same_file) {
        return Ok(());
    }
    Err(CliError::Other(format!(
        "{} is a copy of {}, and only one of them may run, since their jobs have the same output folders; if it is to be \
         this one, remove the original, or {}",
        path.display(),
        original.display(),
        home.display()
    )))
}

fn lock(state: &Path, take_over: bool) -> Result<File, CliError> {
    // The predecessor keeps its lock until this process is in charge, since a takeover may fail.
    let path = state.join(if take_over { NEXT_LOCK } else { LOCK });
    let file = create_private(&path).map_err(CliError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CliError::Other(format!(
            "{} belongs to another coordinator, which is running; --take-over replaces it",
            state.display()
        ))),
        Err(TryLockError::Error(error)) => Err(CliError::Io { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_take_over_that_fails_leaves_the_other_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let take = |take_over| StateFolder::take(dir.path(), take_over);
        let is_refused = || take(false).unwrap_err().to_string().contains("another coordinator");
        let first = take(false).unwrap();
        first.take_charge("http://first").unwrap();
        drop(take(true).unwrap());
        assert!(is_refused());
        let second = take(true).unwrap();
        second.take_charge("http://second").unwrap();
        drop(first);
        assert!(is_refused());
        assert_eq!(fs::read_to_string(dir.path().join(ADDRESS)).unwrap(), "http://second\n");
        drop(second);
        take(false).unwrap();
    }

    #[test]
    fn a_folder_of_foreign_files_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        // A new file system that is mounted there.
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        fs::write(dir.path().join(".keep"), "").unwrap();
        drop(StateFolder::take(dir.path(), false).unwrap());
        fs::write(dir.path().join("notes"), "").unwrap();
        drop(StateFolder::take(dir.path(), false).unwrap());
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("notes"), "").unwrap();
        for take_over in [false, true] {
            let refused = StateFolder::take(other.path(), take_over).unwrap_err().to_string();
            assert!(refused.contains("it contains notes, which is not"), "{refused}");
        }
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }

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
        // Half-written, or the same folder by another way.
        for home in ["\n".to_string(), format!("{}\n", moved.display())] {
            fs::write(moved.join(HOME), home).unwrap();
            drop(StateFolder::take(&moved, false).unwrap());
        }
        fs::remove_dir_all(&moved).unwrap();
        StateFolder::take(&copy, false).unwrap();
    }
}
