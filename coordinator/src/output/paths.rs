//! The paths of a job's folders: names only, which survive its coordinator.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_jobs::JobIdentity;

use super::folder::{Folder, if_any};
use super::private_folder::{self, PrivateFolderName};
use super::{TEMPORARY, commit_folder, lock};

/// Prefix of staging folders.
const STAGING_PREFIX: &str = "attempts-";
/// How long cancelled attempts may go on writing while their folder is being removed.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

const _: () = assert!(REMOVE_TRIES > 0, "nothing would be removed");

/// The folders of one job. No two jobs share any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct OutputPaths {
    /// With links resolved, once, when the output was checked.
    output: PathBuf,
    unique: String,
    /// Whether the output folder was made for this job, and so is removed if it fails.
    created: bool,
}

impl OutputPaths {
    /// The paths of this job in `output`. They are unique across clusters, so that a late attempt
    /// of a dead job writes nowhere else.
    pub(super) fn new(job: JobIdentity, output: &Path, created: bool) -> Self {
        let paths = Self { created, ..Self::named(output, &job.to_string()) };
        debug_assert_eq!(
            job_of(&paths.staging_name()),
            Some(job),
            "nobody could tell the folder's owner without its coordinator"
        );
        paths
    }

    /// Paths of this name, which may have been used before.
    pub(crate) fn named(output: &Path, unique: &str) -> Self {
        debug_assert!(
            !unique.is_empty() && !unique.contains('/'),
            "the folders of a job lie in its output, and nowhere else"
        );
        Self { output: output.to_path_buf(), unique: unique.to_string(), created: false }
    }

    /// The output folder.
    pub(crate) fn output(&self) -> &Path {
        &self.output
    }

    /// The staging folder.
    pub(crate) fn staging(&self) -> PathBuf {
        self.staging_in(&self.output)
    }

    /// The staging folder beneath this name of the output: the submitter's, which leads to it on
    /// each machine.
    pub(crate) fn staging_in(&self, output: &Path) -> PathBuf {
        output.join(TEMPORARY).join(self.staging_name())
    }

    /// The staging folder's name in the temporary folder.
    pub(super) fn staging_name(&self) -> String {
        debug_assert!(!self.unique.is_empty(), "a late attempt of another job would write into it");
        format!("{STAGING_PREFIX}{}", self.unique)
    }

    /// The unique part of the job's folder names.
    pub(super) fn unique(&self) -> &str {
        &self.unique
    }

    /// The temporary folder, if it exists.
    pub(super) fn temporary(&self) -> io::Result<Option<Folder>> {
        match if_any(Folder::open(&self.output))? {
            Some(output) => output.folder_if_any(TEMPORARY),
            None => Ok(None),
        }
    }

    /// Whether the job's parts still exist.
    pub(super) fn has_parts(&self) -> io::Result<bool> {
        let Some(temporary) = self.temporary()? else { return Ok(false) };
        Ok(temporary.folder_if_any(self.staging_name())?.is_some()
            || !commit_folder::of(&temporary, &self.unique)?.is_empty())
    }

    /// Removes the job's folders. Cancelled attempts may still be writing, so it retries for a
    /// while. An old output that could not be put back stays.
    pub(super) async fn remove(&self) -> io::Result<()> {
        let mut removed = self.clone().try_remove().await;
        for _ in 1..REMOVE_TRIES {
            match &removed {
                Err(error) if error.kind() != io::ErrorKind::ResourceBusy => {}
                // Done, or busy: a process keeps writing there, and retrying is useless.
                _ => break,
            }
            tokio::time::sleep(REMOVE_PAUSE).await;
            removed = self.clone().try_remove().await;
        }
        removed
    }

    async fn try_remove(self) -> io::Result<()> {
        let remove = move || {
            let Some(temporary) = self.temporary()? else { return Ok(()) };
            temporary.remove_tree(self.staging_name())?;
            for (_, folder) in commit_folder::of(&temporary, &self.unique)? {
                debug_assert_eq!(
                    commit_folder::unique_of(&folder),
                    Some(&*self.unique),
                    "another job would lose its parts"
                );
                temporary.remove_tree(folder)?;
            }
            for own in private_folder::named(&temporary, Some(&self.unique))? {
                debug_assert_eq!(own.unique, self.unique, "another job would lose its old output");
                remove_own(&temporary, &own)?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(remove).await.map_err(io::Error::other)?
    }

    /// Removes the output folder if it was made for this job and is empty.
    pub(super) fn remove_output(&self) {
        if self.created {
            let _ = Folder::remove_empty(&self.output);
        }
    }
}

/// Removes a private folder, unless it holds an old output.
fn remove_own(temporary: &Folder, own: &PrivateFolderName) -> io::Result<()> {
    debug_assert_eq!(
        PrivateFolderName::parse(own.name.as_ref()).as_ref(),
        Some(own),
        "only private folders are removed"
    );
    match private_folder::has_replaced(temporary, own)? {
        true => Ok(()),
        false => temporary.remove_tree(&own.name),
    }
}

/// Removes the folder of this name in the temporary folder of `output`, such as an embedded
/// worker's, and the temporary folder if it is empty then. Follows no link there: others with write
/// access to the output may have replaced either by a link.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_from_temporary(output: &Path, name: &str) -> io::Result<()> {
    debug_assert!(
        name != lock::LOCK && job_of(name).is_none(),
        "another job's folder would be removed"
    );
    // Links in the path above the output are the caller's own.
    let output = Folder::open(&std::fs::canonicalize(output)?)?;
    let Some(temporary) = output.folder_if_any(TEMPORARY)? else { return Ok(()) };
    temporary.remove_tree(name)?;
    // It stays if it is not empty.
    let _ = output.remove_folder(TEMPORARY);
    Ok(())
}

/// The job to which a folder in the temporary folder belongs, by the folder's name.
pub(super) fn job_of(name: &str) -> Option<JobIdentity> {
    let unique = name.strip_prefix(STAGING_PREFIX).or_else(|| commit_folder::unique_of(name));
    match unique {
        Some(unique) => unique.parse().ok(),
        None => PrivateFolderName::parse(name.as_ref())?.unique.parse().ok(),
    }
}

/// Removes the folders of killed jobs, once none of them is alive and nothing has to be put back. A
/// folder that cannot be removed does no harm, since names are unique.
pub(super) fn sweep(temporary: &Folder) -> io::Result<()> {
    let warn = |name: &OsStr, removed: io::Result<()>| {
        if let Err(error) = removed {
            let path = temporary.at(name);
            tracing::warn!(path = %path.display(), %error, "cannot remove a folder of a killed job; it stays");
        }
    };
    let has_parts = |name: &OsStr, _| {
        let prefixes = [STAGING_PREFIX, commit_folder::PREFIX];
        prefixes.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    for (name, _) in temporary.entries(has_parts)? {
        warn(&name, temporary.remove_tree(&name));
    }
    for own in private_folder::named(temporary, None)? {
        warn(own.name.as_ref(), remove_own(temporary, &own));
    }
    lock::sweep(temporary)
}
