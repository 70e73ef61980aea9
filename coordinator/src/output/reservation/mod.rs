//! Reserves an output folder for one job.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use windrow_jobs::JobIdentity;

use super::folder::{Folder, USUAL};
use super::lock::{Lock, Owner};
use super::paths::{self, OutputPaths, sweep};
use super::{OutputError, SUCCESS, TEMPORARY, lock, manifest, replace};
use crate::hanging::at;

/// Entries of a folder with this bit belong to the folder's group.
const SETGID: Mode = Mode::SGID;
const GROUP_ENTERS: Mode = Mode::RGRP.union(Mode::XGRP);
const GROUP_WRITES: Mode = Mode::RWXG;

/// An output folder that is reserved for one job, across all processes that see the same file
/// system.
#[derive(Debug)]
pub(crate) struct Reservation {
    paths: OutputPaths,
    /// `None` if another job holds the folder already.
    lock: Option<Lock>,
}

/// Refuses an output that is not empty, unless it is a complete output that may be replaced. Writes
/// nothing. Ignores files of killed jobs. No component of the path may be a link.
pub(crate) fn check(output: &Path, overwrite: bool) -> Result<(), OutputError> {
    at(output, || match Folder::open(output) {
        Ok(folder) => match check_entries(&folder, overwrite) {
            Err(_) if replace::is_unsettled(&folder) => Ok(()),
            checked => checked,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(match no_folder(output) {
            Some(path) => OutputError::NotAFolder { output: output.to_path_buf(), path },
            None => OutputError::not_writable(output)(error),
        }),
    })
}

/// What lies in the way of an output folder: itself or a folder above it, but no link, which has a
/// message of its own.
fn no_folder(output: &Path) -> Option<PathBuf> {
    let found = output.ancestors().find_map(|path| Some((path, path.symlink_metadata().ok()?)));
    let (path, found) = found?;
    (!found.is_dir() && !found.is_symlink()).then(|| path.to_path_buf())
}

fn check_entries(output: &Folder, overwrite: bool) -> Result<(), OutputError> {
    let others = output.some_entries(1, |name, _| name != TEMPORARY);
    let is_empty = others.map_err(OutputError::not_writable(output.path()))?.is_empty();
    let path = output.path().to_path_buf();
    match (is_empty, overwrite) {
        (true, _) => Ok(()),
        (false, true) if has_manifest(output) => refuse_foreign(output),
        (false, true) => {
            let why = match output.has(SUCCESS) {
                Ok(true) => "its _SUCCESS was not written by Windrow",
                _ => "has no _SUCCESS",
            };
            Err(OutputError::NotAnOutput { path, why })
        }
        (false, false) => Err(OutputError::NotEmpty { path }),
    }
}

/// Whether a job has written the content. Other systems leave a `_SUCCESS`, too.
fn has_manifest(output: &Folder) -> bool {
    let file = at(&output.at(SUCCESS), || output.file(SUCCESS));
    file.is_ok_and(|file| manifest::is_one(BufReader::new(file)))
}

/// Foreign files are not removed with a result: notes, or the output of another job.
fn refuse_foreign(output: &Folder) -> Result<(), OutputError> {
    match replace::foreign_in(output).map_err(OutputError::not_writable(output.path()))? {
        Some(foreign) => Err(OutputError::Foreign { path: output.path().to_path_buf(), foreign }),
        None => Ok(()),
    }
}

/// The jobs whose unpublished files are in an output folder: they hold it, or held it when they
/// were killed. Empty if the folder cannot be read.
pub(crate) fn jobs_in(output: &Path) -> Vec<JobIdentity> {
    at(output, || look_for_jobs(output).unwrap_or_default())
}

fn look_for_jobs(output: &Path) -> io::Result<Vec<JobIdentity>> {
    let temporary = Folder::open(output)?.folder(TEMPORARY)?;
    let job_of = |name: &OsStr| name.to_str().and_then(paths::job_of);
    let names = temporary.entries(|name, _| job_of(name).is_some())?.into_iter();
    let mut jobs: BTreeSet<_> = names.filter_map(|(name, _)| job_of(&name)).collect();
    let locker = lock::owner_of(&temporary);
    jobs.extend(locker.and_then(|owner| owner.unique.parse::<JobIdentity>().ok()));
    Ok(jobs.into_iter().collect())
}

impl Reservation {
    /// Takes `output`, which [`check`] must allow, for a job, and creates its staging folder.
    /// Finishes or removes the work of killed jobs there. With an `owner`, the folder stays taken
    /// when this process dies. Blocks on the file system.
    pub(crate) fn take_for(
        job: JobIdentity,
        output: &Path,
        overwrite: bool,
        owner: Option<Owner>,
    ) -> Result<Self, OutputError> {
        check(output, overwrite)?;
        let (folder, created) = Folder::make(output).map_err(OutputError::not_writable(output))?;
        let paths = OutputPaths::new(job, output, created);
        Self::take_existing(&paths, &folder, overwrite, owner)
            .inspect_err(|_| paths.remove_output())
    }

    /// Takes the folder for a new job.
    #[cfg(test)]
    pub(crate) fn take(
        output: &Path,
        overwrite: bool,
        owner: Option<Owner>,
    ) -> Result<Self, OutputError> {
        let job = JobIdentity(crate::journal::draw().map_err(OutputError::not_writable(output))?);
        Self::take_for(job, output, overwrite, owner)
    }

    fn take_existing(
        paths: &OutputPaths,
        output: &Folder,
        overwrite: bool,
        owner: Option<Owner>,
    ) -> Result<Self, OutputError> {
        let owner = owner.map(|owner| Owner { unique: paths.unique().to_string(), ..owner });
        debug_assert_eq!(paths.output(), output.path(), "another output would be locked");
        let lock = Lock::take(output, paths.unique(), owner.as_ref())?;
        let (path, staging) = (output.at(TEMPORARY), paths.staging_name());
        let failed = || OutputError::not_writable(&path);
        let prepare = || {
            let temporary = output.folder(TEMPORARY).map_err(failed())?;
            replace::settle_all(output, &temporary, paths.unique())?;
            check_entries(output, overwrite)?;
            sweep(&temporary).map_err(failed())?;
            let made = temporary.new_folder(&staging, USUAL).map_err(failed())?;
            share_staging(output, &temporary, &made).map_err(failed())
        };
        prepare().inspect_err(|_| {
            if let Ok(temporary) = output.folder(TEMPORARY) {
                let _ = temporary.remove_folder(&staging);
            }
            lock.remove();
        })?;
        Ok(Self { paths: paths.clone(), lock: Some(lock) })
    }

    /// Takes the folder again for a job of the same owner, which held it in another process. Blocks
    /// on the file system.
    pub(crate) fn resume(paths: &OutputPaths, owner: Owner) -> Result<Self, OutputError> {
        let owner = Owner { unique: paths.unique().to_string(), ..owner };
        let failed = || OutputError::not_writable(paths.output());
        // The job's parts are in these folders.
        if !paths.has_parts().map_err(failed())? {
            return Err(OutputError::Gone { path: paths.staging() });
        }
        debug_assert_eq!(owner.unique, paths.unique(), "a job takes its own folder");
        let output = Folder::open(paths.output()).map_err(failed())?;
        let lock = Lock::take_over(&output, &owner)?;
        Ok(Self { paths: paths.clone(), lock: Some(lock) })
    }

    /// For a job that is over and needs only its cleanup.
    pub(crate) fn of_ended(paths: &OutputPaths, owner: Owner) -> Self {
        let owner = Owner { unique: paths.unique().to_string(), ..owner };
        debug_assert_eq!(owner.unique, paths.unique(), "another job would lose its lock");
        let lock = match paths.temporary() {
            Ok(Some(_)) => {
                let output = Folder::open(paths.output()).ok();
                output.and_then(|output| Lock::take_over(&output, &owner).ok())
            }
            _ => None,
        };
        Self { paths: paths.clone(), lock }
    }

    /// The job's folders.
    pub(crate) fn paths(&self) -> &OutputPaths {
        &self.paths
    }

    /// Removes everything of this job but its results. Other jobs' entries in the temporary folder
    /// stay.
    pub(crate) async fn remove_temporary(&self) -> io::Result<()> {
        let removed = self.paths.remove().await;
        // A folder that stays does no harm: names are unique.
        if let Some(lock) = &self.lock {
            lock.remove();
        }
        removed
    }

    /// Gives the folder back as it was, without a result. A folder without our lock is a foreign
    /// one in its place, and stays.
    pub(crate) async fn discard(&self) -> io::Result<()> {
        let is_ours = self.lock.as_ref().is_some_and(Lock::is_there);
        self.remove_temporary().await?;
        if is_ours {
            self.paths.remove_output();
        }
        Ok(())
    }
}

/// Workers of other users write to the staging folder by its group, if the setgid bit of the output
/// folder asks for it: then the group may write whatever the umask is.
fn share_staging(output: &Folder, temporary: &Folder, staging: &Folder) -> io::Result<()> {
    debug_assert!(
        staging.path().starts_with(temporary.path()) && temporary.path().starts_with(output.path()),
        "only the job's own folder is shared"
    );
    if !Mode::from_raw_mode(output.own_stat()?.st_mode).contains(SETGID) {
        return Ok(());
    }
    // The folders above are the user's, who may have shared them in another way.
    for above in [output, temporary] {
        let _ = above.allow(GROUP_ENTERS);
    }
    staging.allow(SETGID | GROUP_WRITES)
}

#[cfg(test)]
mod tests;
