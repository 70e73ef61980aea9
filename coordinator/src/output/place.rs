//! Where a job writes: names alone, which survive its coordinator.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_jobs::JobIdentity;
use windrow_scheduler::journal::Epoch;

use super::replace::Replaced;
use super::{TEMPORARY, commit_folder};

/// Prefix of staging folders.
const STAGING_PREFIX: &str = "attempts-";
/// How long attempts that have been cancelled may go on writing while their folder is being
/// removed.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// The folders of one job. No two jobs have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    output: PathBuf,
    unique: String,
    /// Whether the output folder was made for this job, and so goes with it when it fails.
    created: bool,
}

impl Place {
    /// The place of this job in `output`. No other job of any cluster has the same, and a late
    /// attempt of one that is gone writes nowhere else.
    pub(super) fn new(job: JobIdentity, output: &Path, created: bool) -> Self {
        Self { created, ..Self::named(output, &job.to_string()) }
    }

    /// A place that others may have had.
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

    /// Where attempts write.
    pub(crate) fn staging(&self) -> PathBuf {
        debug_assert!(!self.unique.is_empty(), "a late attempt of another job would write into it");
        self.temporary().join(format!("{STAGING_PREFIX}{}", self.unique))
    }

    /// What tells it from all others.
    pub(super) fn unique(&self) -> &str {
        &self.unique
    }

    /// What holds all that is not result yet.
    pub(super) fn temporary(&self) -> PathBuf {
        self.output.join(TEMPORARY)
    }

    /// Where the publication of `epoch` happens.
    pub(super) fn commit_folder(&self, epoch: Epoch) -> PathBuf {
        self.temporary().join(commit_folder::name(&self.unique, epoch))
    }

    /// Folders in which a publication has begun; one at most, but for what could not be removed.
    pub(super) fn commit_folders(&self) -> io::Result<Vec<(Epoch, PathBuf)>> {
        let all = commit_folder::all(&self.temporary())?.into_iter();
        debug_assert!(
            commit_folder::epoch_of(&self.staging(), &self.unique).is_none(),
            "what attempts write to is not being published"
        );
        Ok(all
            .filter_map(|path| Some((commit_folder::epoch_of(&path, &self.unique)?, path)))
            .collect())
    }

    /// Removes the job's folders. Attempts that have been told to stop may still be writing, so it
    /// tries for a while. What was moved aside and could not be put back stays.
    pub(super) async fn remove(&self) -> io::Result<()> {
        let mut removed = self.clone().try_remove().await;
        for _ in 1..REMOVE_TRIES {
            if removed.is_ok() {
                break;
            }
            tokio::time::sleep(REMOVE_PAUSE).await;
            removed = self.clone().try_remove().await;
        }
        removed
    }

    async fn try_remove(self) -> io::Result<()> {
        let remove = move || {
            gone(fs::remove_dir_all(self.staging()))?;
            for (_, folder) in self.commit_folders()? {
                debug_assert_ne!(folder, self.output, "the result stays");
                if Replaced::new(&self.output, &folder).is_empty() {
                    gone(fs::remove_dir_all(folder))?;
                }
            }
            Ok(())
        };
        tokio::task::spawn_blocking(remove).await.map_err(io::Error::other)?
    }

    /// Removes the output folder if it was made for this job. If somebody has put something there
    /// meanwhile, it stays.
    pub(super) fn remove_output(&self) {
        if self.created {
            let _ = fs::remove_dir(&self.output);
        }
    }
}

/// The job to which a folder in the temporary one belongs, by the folder's name.
pub(super) fn job_of(name: &str) -> Option<JobIdentity> {
    let unique = name.strip_prefix(STAGING_PREFIX).or_else(|| commit_folder::unique_of(name))?;
    unique.parse().ok()
}

/// Removes the folders of jobs that were killed, once it is known that none of them lives and that
/// nothing in them is to be put back.
pub(super) fn sweep(temporary: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    commit_folder::all(temporary)?.into_iter().try_for_each(fs::remove_dir_all)
}

/// What is gone already need not be removed.
pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
