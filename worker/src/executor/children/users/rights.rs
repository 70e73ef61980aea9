//! Acts with the rights of a job's user, and on all its processes.
//!
//! The kernel keeps user ids by thread. No job can signal a thread that briefly acts as another
//! user: its saved user id is the worker's, and its real one the worker's or nobody's.

use std::fs;
use std::io;

use rustix::fs::{Gid, Uid};
use rustix::process::{getppid, test_kill_process};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

/// A real user id that no process has: the processes of no user can signal a thread with it.
pub(super) const NOBODYS: u32 = u32::MAX - 1;

/// Kills all processes of a user at once: none can escape by starting another.
pub(super) fn kill_all(number: Uid) -> io::Result<()> {
    as_user(Some(Uid::from_raw(NOBODYS)), number, &[], || {
        // A mistake about the user would be fatal, so it is checked: no job owns the parent of this
        // process.
        if getppid().is_some_and(|parent| test_kill_process(parent).is_ok()) {
            return Err(io::Error::other("a bug in the engine: a thread has kept its rights"));
        }
        // SAFETY: all arguments are integers. The call fails if there is no other process.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(-1, libc::SIGKILL);
        }
        Ok(())
    })?
}

/// Whether a process has this user as its real, effective or saved one.
pub(super) fn runs_anything(number: u32) -> io::Result<bool> {
    let number = number.to_string();
    let is_its = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.is_some_and(|ids| ids.split_ascii_whitespace().any(|id| id == number))
    };
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        match fs::read_to_string(entry.path().join("status")) {
            Ok(status) if is_its(&status) => return Ok(true),
            Ok(_) => {}
            // The process has ended meanwhile. If it cannot be read for another reason, it may be
            // anybody's.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Acts with the rights of a user, on a thread of its own. Its saved user stays this worker's, and
/// so does its real one unless `real` is given: so no process of that user can signal it.
pub(super) fn as_user<T: Send>(
    real: Option<Uid>,
    number: Uid,
    groups: &[Gid],
    act: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    let become_and_act = || {
        if let Some(&group) = groups.first() {
            set_thread_groups(groups)?;
            set_thread_res_gid(None, Some(group), None)?;
        }
        set_thread_res_uid(real, Some(number), None)?;
        let sets = capabilities(None)?;
        set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..sets })?;
        Ok(act())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("windrow-job-user".into());
        let done = thread.spawn_scoped(scope, become_and_act)?.join();
        done.unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))
    })
}
