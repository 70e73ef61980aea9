//! What this user may do with its own files. A job has the same user, and takes it away from
//! whatever it can open.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, chmod, fchmod, fchown, fstat, open};

/// To read, list and enter, and to change what is in it.
pub(crate) const OF_A_FOLDER: u32 = 0o700;

/// What a group may do with folders on the way to what it may use.
pub(crate) const PASSES: u32 = 0o710;

/// Opens something, whatever its permissions, to see and change those. Follows no link.
pub(crate) fn open_path(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Has this user have these rights at least, if it is the owner. True if the user lacked some.
///
/// # Errors
/// When the system says so.
pub(super) fn claim(file: impl AsFd, rights: u32) -> io::Result<bool> {
    let file = file.as_fd();
    let found = fstat(file)?;
    let mode = found.st_mode & 0o7777;
    if mode & rights == rights || found.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    chmod(what_is_open(file), Mode::from_raw_mode(mode | rights))?;
    Ok(true)
}

/// The same, and says so in the log.
///
/// # Errors
/// When the system says so.
pub(crate) fn give_back(file: impl AsFd, rights: u32) -> io::Result<()> {
    if claim(&file, rights)? {
        let path = fs::read_link(what_is_open(file.as_fd())).unwrap_or_default();
        tracing::info!(path = %path.display(), "its owner could not use it, and has its rights back");
    }
    Ok(())
}

/// The same for what is there, unless it is a link.
///
/// # Errors
/// When the system says so.
pub(crate) fn give_back_at(path: &Path, rights: u32) -> io::Result<()> {
    give_back(open_path(path, OFlags::empty())?, rights)
}

/// Gives a file or folder of this user's another group, and these rights.
///
/// # Errors
/// When the system says so.
pub(crate) fn share(file: impl AsFd, group: Gid, mode: u32) -> io::Result<()> {
    // In this order: until the group is the right one, it has no rights.
    fchown(&file, None, Some(group))?;
    Ok(fchmod(&file, Mode::from_raw_mode(mode))?)
}

/// Names what was opened, also where nothing but its path could be.
fn what_is_open(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
