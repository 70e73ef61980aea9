//! Takes an output folder for one job, and gives it back.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use windrow_jobs::JobIdentity;

use super::lock::{Lock, Owner};
use super::place::{self, Place, sweep};
use super::{OutputError, SUCCESS, TEMPORARY, lock, manifest, replace};
use crate::hanging::at;

/// What is made in a folder with this bit is of the folder's group.
const SETGID: u32 = 0o2000;
const GROUP_ENTERS: u32 = 0o050;
const GROUP_WRITES: u32 = 0o070;

/// An output folder that one job has for itself, across all processes that see the same file
/// system.
#[derive(Debug)]
pub(crate) struct Reservation {
    place: Place,
    /// `None` where another job has the folder already.
    lock: Option<Lock>,
}

/// Refuses an output that has something in it already, unless that is a whole output and to be
/// replaced. Writes nothing. What a killed job left behind does not count.
pub(crate) fn check(output: &Path, overwrite: bool) -> Result<(), OutputError> {
    at(output, || check_entries(output, overwrite))
}

fn check_entries(output: &Path, overwrite: bool) -> Result<(), OutputError> {
    let entries = match fs::read_dir(output) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(OutputError::NotAFolder { path: output.to_path_buf() });
        }
        Err(error) => return Err(OutputError::not_writable(output)(error)),
    };
    let mut is_empty = true;
    for entry in entries {
        is_empty &= entry.map_err(OutputError::not_writable(output))?.file_name() == TEMPORARY;
    }
    let path = output.to_path_buf();
    match (is_empty, overwrite) {
        (true, _) => Ok(()),
        (false, true) if has_manifest(output) => refuse_foreign(output),
        _ if replace::is_unsettled(output) => Ok(()),
        (false, true) => Err(OutputError::NotAnOutput { path }),
        (false, false) => Err(OutputError::NotEmpty { path }),
    }
}

/// Whether a job has written what lies there. Other systems leave a `_SUCCESS`, too.
fn has_manifest(output: &Path) -> bool {
    let path = output.join(SUCCESS);
    at(&path, || {
        // Opening a pipe would wait for whoever writes to it.
        let file = path.is_file().then(|| File::open(&path));
        file.is_some_and(|file| file.is_ok_and(|file| manifest::is_one(BufReader::new(file))))
    })
}

/// What is not of a result is not removed with one: somebody's notes, or the output of another job.
fn refuse_foreign(output: &Path) -> Result<(), OutputError> {
    match replace::foreign_in(output).map_err(OutputError::not_writable(output))? {
        Some(foreign) => Err(OutputError::Foreign { path: output.to_path_buf(), foreign }),
        None => Ok(()),
    }
}

/// The jobs of which there is something in an output folder that is not result: they have it, or
/// have had it when they were killed. Empty where that cannot be read.
pub(crate) fn jobs_in(output: &Path) -> Vec<JobIdentity> {
    at(output, || look_for_jobs(output))
}

fn look_for_jobs(output: &Path) -> Vec<JobIdentity> {
    let entries = fs::read_dir(output.join(TEMPORARY)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut jobs: BTreeSet<_> = names.filter_map(|name| place::job_of(&name)).collect();
    let locker = lock::owner_of(output).and_then(|owner| owner.unique.parse::<JobIdentity>().ok());
    jobs.extend(locker);
    jobs.into_iter().collect()
}

impl Reservation {
    /// Takes `output`, which [`check`] must allow, for a job, and creates its staging folder. What
    /// a killed job left there is put right or removed. With an `owner`, the folder stays taken
    /// when this process dies. Blocks on the file system.
    pub(crate) fn take_for(
        job: JobIdentity,
        output: &Path,
        overwrite: bool,
        owner: Option<Owner>,
    ) -> Result<Self, OutputError> {
        check(output, overwrite)?;
        let created = !output.exists();
        fs::create_dir_all(output).map_err(OutputError::not_writable(output))?;
        let place = Place::new(job, output, created);
        Self::take_existing(&place, overwrite, owner).inspect_err(|_| place.remove_output())
    }

    /// For a job that nobody has heard of.
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
        place: &Place,
        overwrite: bool,
        owner: Option<Owner>,
    ) -> Result<Self, OutputError> {
        let output = place.output();
        let owner = owner.map(|owner| Owner { unique: place.unique().to_string(), ..owner });
        let lock = Lock::take(output, owner.as_ref())?;
        let prepare = || {
            let temporary = place.temporary();
            let failed = || OutputError::not_writable(&temporary);
            replace::settle_all(output).map_err(failed())?;
            check(output, overwrite)?;
            sweep(&temporary).map_err(failed())?;
            fs::create_dir(place.staging()).map_err(failed())?;
            share_staging(place).map_err(failed())
        };
        prepare().inspect_err(|_| {
            let _ = fs::remove_dir(place.staging());
            lock.remove();
        })?;
        Ok(Self { place: place.clone(), lock: Some(lock) })
    }

    /// Takes the folder again for a job that had it under another process of the same owner. Blocks
    /// on the file system.
    pub(crate) fn resume(place: &Place, owner: Owner) -> Result<Self, OutputError> {
        let owner = Owner { unique: place.unique().to_string(), ..owner };
        let failed = || OutputError::not_writable(place.output());
        // All that its tasks have written lies in one of these.
        if place.commit_folders().map_err(failed())?.is_empty() && !place.staging().is_dir() {
            return Err(OutputError::Gone { path: place.staging() });
        }
        debug_assert_eq!(owner.unique, place.unique(), "a job takes its own folder");
        let lock = Lock::take_over(place.output(), &owner)?;
        Ok(Self { place: place.clone(), lock: Some(lock) })
    }

    /// For a job that is over, and has left no more than what is to be removed.
    pub(crate) fn of_ended(place: &Place, owner: Owner) -> Self {
        let owner = Owner { unique: place.unique().to_string(), ..owner };
        let lock = if place.temporary().exists() {
            Lock::take_over(place.output(), &owner).ok()
        } else {
            None
        };
        Self { place: place.clone(), lock }
    }

    /// Where the job writes.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Removes all of this job that is not result. What others have in the temporary folder stays.
    pub(crate) async fn remove_temporary(&self) -> io::Result<()> {
        self.place.remove().await?;
        if let Some(lock) = &self.lock {
            lock.remove();
        }
        Ok(())
    }

    /// Gives the folder back as it was: the job has no result. A folder without our lock was put in
    /// its place by somebody else, and stays.
    pub(crate) async fn discard(&self) -> io::Result<()> {
        let is_ours = self.lock.as_ref().is_some_and(Lock::is_there);
        self.remove_temporary().await?;
        if is_ours {
            self.place.remove_output();
        }
        Ok(())
    }
}

/// Workers that are other users than this process write to the staging folder by its group, if the
/// output folder says so by its setgid bit: then the group may write whatever the umask is.
fn share_staging(place: &Place) -> io::Result<()> {
    let (output, temporary, staging) = (place.output(), place.temporary(), place.staging());
    if fs::metadata(output)?.mode() & SETGID == 0 {
        return Ok(());
    }
    // Those above are the user's, who may have shared them in another way.
    for above in [output, &temporary] {
        let _ = allow_group(above, GROUP_ENTERS);
    }
    allow_group(&staging, SETGID | GROUP_WRITES)
}

fn allow_group(folder: &Path, bits: u32) -> io::Result<()> {
    let mode = fs::metadata(folder)?.mode();
    if mode & bits == bits {
        return Ok(());
    }
    fs::set_permissions(folder, Permissions::from_mode(mode | bits))
}

#[cfg(test)]
mod tests;
