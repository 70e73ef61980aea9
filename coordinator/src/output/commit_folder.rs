//! The folder in which a publication happens: the staging folder, under a name that bears the
//! epoch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windrow_scheduler::journal::Epoch;

use super::Place;

const PREFIX: &str = "commit-";

/// The name of a job's folder in this epoch.
pub(super) fn name(unique: &str, epoch: Epoch) -> String {
    debug_assert!(!unique.is_empty(), "a job without a name would take others' folders");
    let name = format!("{PREFIX}{unique}.{}", epoch.0);
    debug_assert_eq!(
        epoch_of(Path::new(&name), unique),
        Some(epoch),
        "a folder that is not recognised is never taken over, and its parts are lost"
    );
    name
}

/// All in `temporary`, whosever they are.
pub(super) fn all(temporary: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The place of the job to which a folder of this name belongs.
pub(super) fn unique_of(name: &str) -> Option<&str> {
    Some(name.strip_prefix(PREFIX)?.rsplit_once('.')?.0)
}

/// The epoch of a folder, if it is of the job with this place.
pub(super) fn epoch_of(folder: &Path, unique: &str) -> Option<Epoch> {
    let name = folder.file_name()?.to_str()?;
    let (of, epoch) = name.strip_prefix(PREFIX)?.rsplit_once('.')?;
    epoch.parse().ok().filter(|_| of == unique).map(Epoch)
}

/// Takes the publication over, from the attempts or from an earlier epoch: one rename, after which
/// nobody else finds the folder. From a later one, nothing can be taken.
pub(super) fn take(place: &Place, epoch: Epoch) -> io::Result<PathBuf> {
    let ours = place.commit_folder(epoch);
    debug_assert_ne!(ours, place.staging(), "attempts must not find it any more");
    debug_assert_eq!(ours.parent(), place.staging().parent(), "one rename takes all of it");
    if ours.is_dir() {
        return Ok(ours);
    }
    let mut last = fs::rename(place.staging(), &ours);
    for (of, folder) in place.commit_folders()? {
        if last.is_err() && of < epoch {
            last = fs::rename(folder, &ours);
        }
    }
    last.map(|()| ours)
}
