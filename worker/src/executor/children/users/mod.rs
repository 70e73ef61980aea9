//! A user of the system for each job, for as long as the job is here: then a job cannot change
//! permissions of files, send signals, or change limits of other jobs or of the worker.
//!
//! ```text
//!  Users 2000000000..=2000000999 -- give --> JobUser 2000000003, in the groups of all jobs
//!                                              |-- bind:  its processes run as that user
//!                                              |-- own:   that user owns its folder
//!                                              |-- end_all: all processes of that user end
//!                                              +-- dropped: the id is free again
//! ```
//!
//! A user id without an account is enough for that. A claimed id is held by a lock in a folder to
//! which no job can write, so that no two workers of a machine give one id to two jobs.

mod numbers;
mod rights;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, accessat, fchmod, fchown, fstat, openat,
};
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{FailureCause, PartHandle};
use windrow_security::files::{make_private_folder, private};

pub use self::numbers::JobUsers;
use self::numbers::whose;
use self::rights::{as_user, kill_all, runs_anything};
use super::job::ChildrenOfJob;
use super::start::TEMPORARY;
use crate::files::{PASSES, share};
use crate::model::Finished;
use crate::sync::{blocking, lock};

/// Permissions that a finished file may keep: neither other users, nor jobs through their group,
/// may write to it.
const OF_FINISHED: u32 = 0o755;
/// The coordinator reads it through the group.
const OF_FINISHED_AT_LEAST: u32 = 0o640;

/// The folder of the locks on user ids: owned by root, and empty after a boot.
const LOCKS: &str = "/run/windrow-job-users";

/// Pause before looking again for an id that another worker has released. Releases in this worker
/// notify at once.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// The users of all jobs of a worker.
#[derive(Debug)]
pub(crate) struct Users {
    of: JobUsers,
    groups: Arc<[Gid]>,
    /// The id to try first.
    next: Mutex<u32>,
    given_back: Arc<Notify>,
}

/// The user of one job, until this is dropped.
#[derive(Debug)]
pub(crate) struct JobUser {
    number: Uid,
    groups: Arc<[Gid]>,
    lock: Option<File>,
    given_back: Arc<Notify>,
}

impl Drop for JobUser {
    fn drop(&mut self) {
        // Unlocked before the release is announced.
        drop(self.lock.take());
        self.given_back.notify_waiters();
    }
}

impl Users {
    /// To be called only where there is no [`refusal`](JobUsers::refusal).
    ///
    /// # Errors
    ///
    /// When the folder for locks cannot be made.
    pub(crate) fn new(of: JobUsers) -> io::Result<Self> {
        make_private_folder(Path::new(LOCKS))?;
        let groups: Arc<[Gid]> = of.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        debug_assert!(!groups.is_empty(), "jobs would keep the worker's groups");
        // Begins at a random id: a restarted worker would otherwise reuse the same ids.
        let count = u64::from(*of.numbers.end() - *of.numbers.start()) + 1;
        let next = *of.numbers.start() + (RandomState::new().hash_one(LOCKS) % count) as u32;
        Ok(Self { next: Mutex::new(next), of, groups, given_back: Arc::default() })
    }

    /// A user that no other job has, as soon as one is free; `None` when it is not wanted any more.
    ///
    /// # Errors
    ///
    /// When a system call fails.
    async fn claim(self: &Arc<Self>, unwanted: &CancellationToken) -> io::Result<Option<JobUser>> {
        let mut is_said = false;
        while !unwanted.is_cancelled() {
            let given_back = self.given_back.notified();
            let users = Arc::clone(self);
            if let Some(user) = blocking(move || users.claim_if_free()).await? {
                return Ok(Some(user));
            }
            if !std::mem::replace(&mut is_said, true) {
                let (first, last) = (self.of.numbers.start(), self.of.numbers.end());
                tracing::warn!(
                    "a job is waiting for a user: all users for jobs ({first} to {last}) are taken (--job-users)"
                );
            }
            tokio::select! {
                () = given_back => {}
                () = sleep(LOOK_AGAIN) => {}
                () = unwanted.cancelled() => {}
            }
        }
        Ok(None)
    }

    /// A user that no other job has; `None` if all are taken. May block for a moment.
    fn claim_if_free(&self) -> io::Result<Option<JobUser>> {
        let mut next = lock(&self.next);
        let (first, last) = (*self.of.numbers.start(), *self.of.numbers.end());
        // The most recently released id comes last, so that files left behind by one job do not
        // belong to the next.
        let mut in_turn = (*next..=last).chain(first..*next);
        let claimed = in_turn.find_map(|number| self.try_claim(number).transpose()).transpose()?;
        if let Some(user) = &claimed {
            let number = user.number.as_raw();
            *next = if number == last { first } else { number + 1 };
        }
        Ok(claimed)
    }

    fn try_claim(&self, number: u32) -> io::Result<Option<JobUser>> {
        let mut options = private();
        options.write(true).create(true).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(Path::new(LOCKS).join(number.to_string()))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        if runs_anything(number)? {
            tracing::warn!(
                user = number,
                "a process runs as this user; not giving the user to a job"
            );
            return Ok(None);
        }
        let number = Uid::from_raw(number);
        let (groups, given_back) = (Arc::clone(&self.groups), Arc::clone(&self.given_back));
        Ok(Some(JobUser { number, groups, lock: Some(file), given_back }))
    }

    /// Ends processes that the jobs of a former worker, the owners of these folders, have left
    /// running: whatever ids that worker used, the owners are users of jobs, unless an account has
    /// the id.
    ///
    /// # Errors
    ///
    /// When a system call fails.
    pub(crate) fn end_those_of(folders: &[PathBuf]) -> io::Result<()> {
        let owner = |path: &PathBuf| fs::symlink_metadata(path).ok().map(|found| found.uid());
        let mut owners: BTreeSet<_> = folders.iter().filter_map(owner).collect();
        owners.retain(|owner| whose(&(*owner..=*owner)).is_none());
        owners.remove(&0);
        owners.remove(&geteuid().as_raw());
        for owner in owners {
            kill_all(Uid::from_raw(owner))?;
        }
        Ok(())
    }

    /// Lets jobs pass through a folder of the worker's, without letting them list it.
    ///
    /// # Errors
    ///
    /// When a system call fails, or a folder above it is closed to jobs.
    pub(crate) fn open_way(&self, folder: &Path) -> io::Result<()> {
        let opened = File::open(folder)?;
        share(&opened, self.group(), PASSES)?;
        let first = Uid::from_raw(*self.of.numbers.start());
        let mut all: Vec<_> = folder.ancestors().collect();
        // The topmost closed folder is the one to open.
        all.reverse();
        for above in all {
            let may = as_user(None, first, &self.groups, || may_pass(above))?;
            may.map_err(|error| {
                let text = format!(
                    "jobs' users cannot get through {} ({error}); a worker that gives jobs users (--job-users) needs a folder (--dir) all above which is open to them",
                    above.display()
                );
                io::Error::new(error.kind(), text)
            })?;
        }
        Ok(())
    }

    /// The group through which all jobs read the worker's files for them.
    pub(crate) fn group(&self) -> Gid {
        self.groups[0]
    }
}

impl JobUser {
    /// Makes the process of `command` run as this user, with no rights beyond its groups.
    pub(super) fn bind(&self, command: &mut Command) {
        let (number, groups) = (self.number, Arc::clone(&self.groups));
        let become_user = move || {
            set_thread_groups(&groups)?;
            let group = Some(groups[0]);
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(Some(number), Some(number), Some(number))?;
            // Setting the user clears these for root only.
            let _ = clear_ambient_capability_set();
            set_capabilities(None, NO_CAPABILITIES)?;
            Ok(set_no_new_privs(true)?)
        };
        // SAFETY: between fork and exec, only async-signal-safe operations are allowed: this makes
        // a few system calls, for the only thread that then exists, takes no lock and allocates
        // nothing, and neither do its errors.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(become_user);
        }
    }

    /// Makes the user the owner of a file that this worker has just made.
    pub(super) fn own(&self, file: impl AsFd) -> io::Result<()> {
        Ok(fchown(file, Some(self.number), None)?)
    }

    /// Whether the user can write to a folder.
    pub(super) fn can_write(&self, folder: &Path) -> io::Result<()> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        as_user(None, self.number, &self.groups, || {
            Ok(accessat(CWD, folder, access, AtFlags::EACCESS)?)
        })?
    }

    /// Takes a finished file in the staging folder from the user, who could still write to it by
    /// name, and so could later jobs with the same user id. The worker's user and the group can
    /// then read it, whatever permissions the job had set.
    fn give_up(&self, staging: impl AsFd, name: &OsStr) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(staging, name, flags, Mode::empty())?;
        let found = fstat(&file)?;
        let is_its_own = found.st_uid == self.number.as_raw() && found.st_nlink == 1;
        if !is_its_own || FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            // The coordinator checks the file's type.
            return Ok(());
        }
        fchown(&file, Some(geteuid()), None)?;
        let mode = (found.st_mode | OF_FINISHED_AT_LEAST) & OF_FINISHED;
        Ok(fchmod(&file, Mode::from_raw_mode(mode))?)
    }

    /// Ends all processes of this user, however they hide.
    pub(super) fn end_all(&self) -> io::Result<()> {
        kill_all(self.number)
    }
}

/// Gives a job a user, if it has none yet, and makes that user the owner of the job's folder: after
/// that, the folder is not touched by name, since the job can replace its contents.
pub(super) async fn give(
    users: &Arc<Users>,
    job: &Arc<ChildrenOfJob>,
    folder: &Path,
) -> Result<(), FailureCause> {
    if job.user().is_some() {
        return Ok(());
    }
    let failed = |error: io::Error| FailureCause::io(folder, &error);
    let claimed = users.claim(&job.released).await.map_err(failed)?;
    let user = Arc::new(claimed.ok_or(FailureCause::Cancelled)?);
    let (made_for, path) = (Arc::clone(&user), folder.to_path_buf());
    let made = blocking(move || {
        let temporary = path.join(TEMPORARY);
        make_private_folder(&temporary)?;
        let mut folders = [&temporary, &path].into_iter();
        folders.try_for_each(|folder| made_for.own(File::open(folder)?))
    });
    made.await.map_err(failed)?;
    job.set_user(user);
    Ok(())
}

/// Makes this worker the owner of an attempt's files, as where jobs have no users of their own.
pub(super) async fn take_over(
    job: &ChildrenOfJob,
    finished: Finished,
) -> Result<Finished, FailureCause> {
    let (Some(user), Some(writable)) = (job.user(), job.opened_writable()) else {
        return Ok(finished);
    };
    let folder = job.files().map(|files| files.staging.clone()).unwrap_or_default();
    let taken = spawn_blocking(move || {
        for PartHandle { location, .. } in finished.part.iter().chain(&finished.bad_records) {
            let Ok(path) = location.to_local() else { continue };
            user.give_up(&writable.staging, path.file_name().unwrap_or_default())
                .map_err(|error| FailureCause::output_io(path, &error))?;
        }
        Ok(finished)
    });
    taken.await.unwrap_or_else(|error| Err(FailureCause::io(folder, &io::Error::other(error))))
}

fn may_pass(folder: &Path) -> io::Result<()> {
    Ok(accessat(CWD, folder, Access::EXEC_OK, AtFlags::EACCESS)?)
}
