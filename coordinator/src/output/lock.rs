//! The lock file, which names the owner of an output folder.
//!
//! A job that ends with its process holds a lock of the system, which is released when the process
//! dies: such a job never blocks its successor. A job whose coordinator has a journal writes its
//! owner into the file, and owns the folder as long as the file exists: when the coordinator is
//! restarted, the job continues.
//!
//! An existing file is never written to, whoever has put it there: a lock is made under another
//! name, with its owner in it, and replaces the stale lock of a former job. A file that is not a
//! lock stays, and is named in the error.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use rustix::fs::{Stat, fstat};
use serde::{Deserialize, Serialize};

use super::folder::{Folder, Strange, USUAL, if_any, is_same};
use super::{OutputError, TEMPORARY};

pub(super) const LOCK: &str = "lock";
/// Prefix of lock files before they are renamed into place.
const NEXT_LOCK: &str = "lock.";
/// Longest lock file.
const BYTES_MAX: u64 = 1 << 16;

const _: () = assert!(NEXT_LOCK.len() > LOCK.len(), "a lock that is held would be swept");

/// The owner of a folder, to be compared and to be shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The coordinator's cluster.
    pub(crate) cluster: String,
    /// The folder of the coordinator's journal.
    pub(crate) state: PathBuf,
    /// The job's registered name.
    pub(crate) job: String,
    /// The unique name of the job's folders; filled in when the folder is taken.
    #[serde(default)]
    pub(crate) unique: String,
    /// The coordinator's epoch when it started. As a fencing token, it keeps an earlier coordinator
    /// from taking the folder of a later one.
    #[serde(default)]
    pub(crate) epoch: u64,
}

/// A folder's lock, held.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    output: PathBuf,
}

impl Lock {
    /// Takes the lock in `output` for the job with this unique name, and makes it if need be. The
    /// lock of another owner is refused, running or not; a stale lock of the own cluster is
    /// replaced. Foreign files stay.
    pub(super) fn take(
        output: &Folder,
        unique: &str,
        owner: Option<&Owner>,
    ) -> Result<Self, OutputError> {
        let path = output.at(TEMPORARY).join(LOCK);
        loop {
            let temporary = output
                .made_folder(TEMPORARY, USUAL)
                .map_err(OutputError::not_writable(&output.at(TEMPORARY)))?;
            let taken = Self::try_take(output, &temporary, unique, owner);
            if taken.is_err() {
                // Remove the temporary folder if it is empty: another job's is not.
                let _ = output.remove_folder(TEMPORARY);
            }
            match taken {
                Ok(Some(lock)) => return Ok(lock),
                // The former owner has removed the file meanwhile, or another process was faster.
                Ok(None) => {}
                Err(Untaken::Refused(error)) => return Err(error),
                Err(Untaken::Failed(error)) => return Err(OutputError::not_writable(&path)(error)),
            }
        }
    }

    fn try_take(
        output: &Folder,
        temporary: &Folder,
        unique: &str,
        owner: Option<&Owner>,
    ) -> Result<Option<Self>, Untaken> {
        debug_assert!(!unique.is_empty(), "two jobs would make their locks under the same name");
        debug_assert!(
            owner.is_none_or(|owner| owner.unique == unique),
            "the job would not get its folder again after a restart"
        );
        let name = next_lock(unique, owner.map_or(0, |owner| owner.epoch));
        let make = || make(temporary, &name, owner);
        let Some(mut there) = if_any(temporary.file_to_lock(LOCK))? else {
            let Some(file) = if_any(make())? else { return Ok(None) };
            return match temporary.rename_new(&name, temporary, LOCK) {
                Ok(()) => Ok(Some(Self { file, output: output.path().to_path_buf() })),
                Err(error) => {
                    temporary.remove_file(&name)?;
                    match error.kind() {
                        io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound => Ok(None),
                        _ => Err(error.into()),
                    }
                }
            };
        };
        let path = || output.path().to_path_buf();
        match there.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Untaken::Refused(OutputError::InUse { path: path() }));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if !is_there(&there, temporary) {
            return Ok(None);
        }
        if let Some(there) = read(&mut there)?
            && owner.is_none_or(|owner| owner.cluster != there.cluster)
        {
            let owner = Box::new(there);
            return Err(Untaken::Refused(OutputError::Owned { path: path(), owner }));
        }
        let file = make()?;
        replace(temporary, &name)?;
        Ok(Some(Self { file, output: path() }))
    }

    /// Takes the lock of a job that `owner` had before. A predecessor that still holds it, perhaps
    /// suspended, loses it.
    pub(super) fn take_over(output: &Folder, owner: &Owner) -> Result<Self, OutputError> {
        debug_assert!(!owner.unique.is_empty(), "another job of the cluster would lose its folder");
        debug_assert!(owner.epoch > 0, "without a fencing token, a zombie would win");
        let path = output.at(TEMPORARY).join(LOCK);
        let failed = || OutputError::not_writable(&path);
        let temporary = output.made_folder(TEMPORARY, USUAL).map_err(failed())?;
        let in_use = || OutputError::InUse { path: output.path().to_path_buf() };
        if let Some(mut file) = if_any(temporary.file_to_lock(LOCK)).map_err(failed())? {
            match read(&mut file).map_err(failed())? {
                Some(there) if there.cluster != owner.cluster => {
                    let path = output.path().to_path_buf();
                    return Err(OutputError::Owned { path, owner: Box::new(there) });
                }
                Some(there) if there.unique == owner.unique && there.epoch <= owner.epoch => {}
                None if file.try_lock_shared().is_ok() => {}
                _ => return Err(in_use()),
            }
        }
        sweep_earlier(&temporary, owner).map_err(failed())?;
        let name = next_lock(&owner.unique, owner.epoch);
        let file = make(&temporary, &name, Some(owner)).map_err(failed())?;
        replace(&temporary, &name).map_err(failed())?;
        Ok(Self { file, output: output.path().to_path_buf() })
    }

    /// Removes the file if it is still this lock, and its folder if that is empty.
    pub(super) fn remove(&self) {
        let Ok(output) = Folder::open(&self.output) else { return };
        let Ok(temporary) = output.folder(TEMPORARY) else { return };
        if is_there(&self.file, &temporary) {
            let _ = temporary.remove_file(LOCK);
        }
        let _ = output.remove_folder(TEMPORARY);
    }

    /// Whether the file in the folder is still this lock.
    pub(super) fn is_there(&self) -> bool {
        let temporary = Folder::open(&self.output).and_then(|output| output.folder(TEMPORARY));
        temporary.is_ok_and(|temporary| is_there(&self.file, &temporary))
    }
}

/// The name of a job's lock before it is renamed into place, in this epoch of its coordinator.
fn next_lock(unique: &str, epoch: u64) -> String {
    format!("{NEXT_LOCK}{unique}.{epoch}")
}

/// Removes the unfinished lock files of the job's earlier coordinators, which would keep its
/// temporary folder from being removed. One that is still alive takes no lock any more.
fn sweep_earlier(temporary: &Folder, owner: &Owner) -> io::Result<()> {
    let of_job = format!("{NEXT_LOCK}{}.", owner.unique);
    let is_earlier = |name: &OsStr, _| {
        let epoch = name.to_str().and_then(|name| name.strip_prefix(&*of_job)?.parse::<u64>().ok());
        epoch.is_some_and(|epoch| epoch < owner.epoch)
    };
    let earlier = temporary.entries(is_earlier)?;
    earlier.into_iter().try_for_each(|(name, _)| temporary.remove_file(name))
}

/// Why a lock was not taken.
enum Untaken {
    Refused(OutputError),
    Failed(io::Error),
}

impl From<io::Error> for Untaken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether this file is the lock of the folder.
fn is_there(file: &File, temporary: &Folder) -> bool {
    let stats: (_, io::Result<Stat>) = (fstat(file), temporary.stat(LOCK));
    matches!(stats, (Ok(ours), Ok(there)) if is_same(&ours, &there))
}

/// Makes a lock file of this name, holds it, and writes its owner. Leaves nothing behind on an
/// error.
fn make(temporary: &Folder, name: &str, owner: Option<&Owner>) -> io::Result<File> {
    debug_assert!(name.starts_with(NEXT_LOCK), "the lock of another job would be removed");
    // The file of an earlier try of the same job, which was killed.
    temporary.remove_file(name)?;
    let mut file = temporary.new_file(name)?;
    let mut write = || {
        file.try_lock()?;
        match owner {
            Some(owner) => {
                let text = serde_json::to_vec_pretty(owner)?;
                debug_assert!((text.len() as u64) < BYTES_MAX, "nobody could read the owner");
                file.write_all(&text)
            }
            None => Ok(()),
        }
    };
    if let Err(error) = write() {
        let _ = temporary.remove_file(name);
        return Err(error);
    }
    Ok(file)
}

/// Replaces the stale lock by the lock file of this name. Leaves nothing behind on an error.
fn replace(temporary: &Folder, name: &str) -> io::Result<()> {
    temporary.replace(name, LOCK).inspect_err(|_| {
        let _ = temporary.remove_file(name);
    })
}

/// The owner in the lock file of the temporary folder, if there is one.
pub(super) fn owner_of(temporary: &Folder) -> Option<Owner> {
    read(&mut temporary.file(LOCK).ok()?).ok().flatten()
}

/// Removes unfinished lock files of killed coordinators.
pub(super) fn sweep(temporary: &Folder) -> io::Result<()> {
    let is_next = |name: &OsStr, _| name.as_encoded_bytes().starts_with(NEXT_LOCK.as_bytes());
    let next = temporary.entries(is_next)?;
    next.into_iter().try_for_each(|(name, _)| temporary.remove_file(name))
}

/// The owner in the file; `None` in an empty file, whose job ends with its process.
fn read(file: &mut File) -> io::Result<Option<Owner>> {
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text)?;
    debug_assert!(text.len() as u64 <= BYTES_MAX, "a foreign file would be read whole");
    if text.is_empty() {
        return Ok(None);
    }
    let no_lock = |_| Strange("not a lock of a job, and is not touched; remove it").into();
    serde_json::from_slice(&text).map(Some).map_err(no_lock)
}
