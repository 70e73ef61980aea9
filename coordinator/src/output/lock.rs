//! The lock file, which says whose an output folder is.
//!
//! A job that dies with its process holds a lock of the system's, which goes when the process does:
//! such a job never blocks its successor. A job whose coordinator has a journal has written its
//! owner into the file, and has the folder for as long as that is there: when the coordinator is
//! started again, the job goes on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place::gone;
use super::{OutputError, TEMPORARY};

const LOCK: &str = "lock";
/// Of a lock file that is about to replace another one.
const NEXT_LOCK: &str = "lock.next";

/// Whose a folder is, in words for people and to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The coordinator's.
    pub(crate) cluster: String,
    /// Where its journal is.
    pub(crate) state: PathBuf,
    /// The job's registered name.
    pub(crate) job: String,
    /// The job's place; filled in when the folder is taken.
    #[serde(default)]
    pub(crate) unique: String,
    /// The coordinator's epoch when it started, a fencing token: what a later one has taken, an
    /// earlier one does not take.
    #[serde(default)]
    pub(crate) epoch: u64,
}

/// A folder's lock, held.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock in `output`, creating it if need be. One that belongs to somebody else is
    /// refused, whether that one runs now or not; what is left of our own cluster's jobs is not.
    pub(super) fn take(output: &Path, owner: Option<&Owner>) -> Result<Self, OutputError> {
        let path = output.join(TEMPORARY).join(LOCK);
        loop {
            let Some(file) = open(output, &path)? else { continue };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(OutputError::InUse { path: output.to_path_buf() });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(OutputError::not_writable(&path)(error));
                }
            }
            let mut lock = Self { file, path: path.clone() };
            // Its former owner may have removed the folder between our opening and our locking.
            if !lock.is_there() {
                continue;
            }
            if let Some(there) = read(&mut lock.file)
                && owner.is_none_or(|owner| owner.cluster != there.cluster)
            {
                return Err(OutputError::Owned {
                    path: output.to_path_buf(),
                    owner: Box::new(there),
                });
            }
            let written = lock.write(owner).inspect_err(|_| lock.remove());
            written.map_err(OutputError::not_writable(&path))?;
            return Ok(lock);
        }
    }

    /// Takes the lock of a job that `owner` had before. A predecessor that still holds it, asleep
    /// perhaps, loses it.
    pub(super) fn take_over(output: &Path, owner: &Owner) -> Result<Self, OutputError> {
        debug_assert!(!owner.unique.is_empty(), "another job of the cluster would lose its folder");
        debug_assert!(owner.epoch > 0, "without a fencing token, a zombie would win");
        let temporary = output.join(TEMPORARY);
        let path = temporary.join(LOCK);
        let failed = || OutputError::not_writable(&path);
        fs::create_dir_all(&temporary).map_err(failed())?;
        if let Ok(mut file) = File::open(&path) {
            match read(&mut file) {
                Some(there) if there.cluster != owner.cluster => {
                    return Err(OutputError::Owned {
                        path: output.to_path_buf(),
                        owner: Box::new(there),
                    });
                }
                Some(there) if there.unique == owner.unique && there.epoch <= owner.epoch => {}
                None if file.try_lock_shared().is_ok() => {}
                _ => return Err(OutputError::InUse { path: output.to_path_buf() }),
            }
        }
        let next = temporary.join(NEXT_LOCK);
        let replace = || {
            gone(fs::remove_file(&next))?;
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&next)?;
            file.try_lock()?;
            let mut lock = Self { file, path: path.clone() };
            lock.write(Some(owner))?;
            fs::rename(&next, &path)?;
            Ok(lock)
        };
        replace().map_err(|error| {
            let _ = fs::remove_file(&next);
            failed()(error)
        })
    }

    /// Removes the file, if it is still ours, and the folder in which it lies, if that is empty.
    pub(super) fn remove(&self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
        if let Some(temporary) = self.path.parent() {
            let _ = fs::remove_dir(temporary);
        }
    }

    /// Whether the file in the folder is still this one.
    pub(super) fn is_there(&self) -> bool {
        match (self.file.metadata(), fs::metadata(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    fn write(&mut self, owner: Option<&Owner>) -> io::Result<()> {
        self.file.set_len(0)?;
        match owner {
            Some(owner) => self.file.write_all(&serde_json::to_vec_pretty(owner)?),
            None => Ok(()),
        }
    }
}

/// Who is named in the lock file in `output`, if anybody is.
pub(super) fn owner_of(output: &Path) -> Option<Owner> {
    read(&mut File::open(output.join(TEMPORARY).join(LOCK)).ok()?)
}

/// `None` when the folder was removed meanwhile.
fn open(output: &Path, path: &Path) -> Result<Option<File>, OutputError> {
    let temporary = output.join(TEMPORARY);
    match fs::create_dir(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(OutputError::not_writable(&temporary)(error));
        }
        _ => {}
    }
    match OpenOptions::new().read(true).append(true).create(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some).map_err(|error| {
            // It may be new, and nobody's; that of another job is not empty.
            let _ = fs::remove_dir(&temporary);
            OutputError::not_writable(path)(error)
        }),
    }
}

/// The owner in the file. One that cannot be read was never written to its end, and its job never
/// accepted.
fn read(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.take(1 << 16).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
