//! The folder in which a publication happens: the staging folder, under a name that bears the epoch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windrow_scheduler::journal::Epoch;

use super::Place;

const PREFIX: &str = "commit-";

/// The name of a job's folder in this epoch.
pub(super) fn name(unique: &str, epoch: Epoch) -> String {
    format!("{PREFIX}{unique}.{}", epoch.0)
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

/// Whether it is the folder of the job with this place.
pub(super) fn is_of(folder: &Path, unique: &str) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('.')).is_some_and(|(of, _)| of == unique)
}

/// Takes the publication over, from the attempts or from an earlier epoch: one rename, after which nobody else finds the
/// folder.
pub(super) fn take(place: &Place, epoch: Epoch) -> io::Result<PathBuf> {
    let ours = place.commit_folder(epoch);
    if ours.is_dir() {
        return Ok(ours);
    }
    let mut last = fs::rename(place.staging(), &ours);
    for earlier in place.commit_folders()? {
        if last.is_ok() {
            break;
        }
        last = fs::rename(earlier, &ours);
    }
    last.map(|()| ours)
}
