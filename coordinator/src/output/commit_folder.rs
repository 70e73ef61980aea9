//! The folder whose parts are published: the staging folder, renamed to a name with the epoch. One
//! rename takes it, after which no attempt and no coordinator of an earlier epoch finds it.
//! Processes that had opened it before keep their access. So it holds nothing but parts, which are
//! checked as they are taken out, and a coordinator that takes over takes the parts from it first.

use std::ffi::{OsStr, OsString};
use std::io;

use windrow_scheduler::journal::Epoch;

use super::OutputPaths;
use super::folder::Folder;

pub(super) const PREFIX: &str = "commit-";

/// The folder of parts that are being published.
pub(super) struct Staged {
    pub(super) folder: Folder,
    /// Whether this is the first publication of the parts.
    pub(super) is_new: bool,
}

/// The name of a job's folder in this epoch.
pub(super) fn name(unique: &str, epoch: Epoch) -> String {
    debug_assert!(!unique.is_empty(), "a job without a name would take folders of other jobs");
    let name = format!("{PREFIX}{unique}.{}", epoch.0);
    debug_assert_eq!(
        epoch_of(name.as_ref(), unique),
        Some(epoch),
        "a folder that is not recognised is never taken over, and its parts are lost"
    );
    name
}

/// The names and epochs of a job's folders: at most one, except for folders that could not be
/// removed.
pub(super) fn of(temporary: &Folder, unique: &str) -> io::Result<Vec<(Epoch, String)>> {
    let named =
        |(name, _): (OsString, _)| Some((epoch_of(&name, unique)?, name.into_string().ok()?));
    let entries = temporary.entries(|name, _| epoch_of(name, unique).is_some())?;
    Ok(entries.into_iter().filter_map(named).collect())
}

/// The unique name of the job to which a folder belongs.
pub(super) fn unique_of(name: &str) -> Option<&str> {
    Some(name.strip_prefix(PREFIX)?.rsplit_once('.')?.0)
}

/// The epoch of a folder, if it belongs to the job with this unique name.
fn epoch_of(name: &OsStr, unique: &str) -> Option<Epoch> {
    let (of, epoch) = name.to_str()?.strip_prefix(PREFIX)?.rsplit_once('.')?;
    epoch.parse().ok().filter(|_| of == unique).map(Epoch)
}

/// Takes the publication over, from the attempts or from an earlier epoch. A publication of a later
/// epoch cannot be taken over.
pub(super) fn take(temporary: &Folder, paths: &OutputPaths, epoch: Epoch) -> io::Result<Staged> {
    let (ours, staging) = (name(paths.unique(), epoch), paths.staging_name());
    debug_assert_ne!(ours, staging, "attempts must not find the folder any more");
    if let Some(folder) = temporary.folder_if_any(&ours)? {
        return Ok(Staged { folder, is_new: false });
    }
    let mut taken = temporary.rename_new(&staging, temporary, &ours);
    let is_new = taken.is_ok();
    for (of, folder) in of(temporary, paths.unique())? {
        if taken.is_err() && of < epoch {
            taken = temporary.rename_new(folder, temporary, &ours);
        }
    }
    taken?;
    debug_assert!(
        epoch_of(ours.as_ref(), paths.unique()).is_some(),
        "no successor would find the folder"
    );
    Ok(Staged { folder: temporary.folder(&ours)?, is_new })
}
