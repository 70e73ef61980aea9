//! Permissions of this user on its own files. A job of the same user can remove them from every
//! file that it can open.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, chmod, fchmod, fchown, fstat, open};

/// To read, list, enter and change a folder.
pub(crate) const OF_A_FOLDER: u32 = 0o700;

/// A group's permissions on folders that lead to files which it may use.
pub(crate) const PASSES: u32 = 0o710;

/// Opens a file, whatever its permissions, to read and change those. Follows no link.
pub(crate) fn open_path(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Gives this user at least these permissions, if it is the owner. True if some were missing.
///
/// # Errors
///
/// When a system call fails.
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

/// Likewise, and logs it.
///
/// # Errors
///
/// When a system call fails.
pub(crate) fn give_back(file: impl AsFd, rights: u32) -> io::Result<()> {
    if claim(&file, rights)? {
        let path = fs::read_link(what_is_open(file.as_fd())).unwrap_or_default();
        tracing::info!(path = %path.display(), "its owner could not use it; its permissions are restored");
    }
    Ok(())
}

/// Likewise for a path, unless it is a link or does not exist.
///
/// # Errors
///
/// When a system call fails.
pub(crate) fn give_back_at(path: &Path, rights: u32) -> io::Result<()> {
    give_back(open_path(path, OFlags::empty())?, rights)
}

/// Gives a file or folder of this user another group, and these permissions.
///
/// # Errors
///
/// When a system call fails.
pub(crate) fn share(file: impl AsFd, group: Gid, mode: u32) -> io::Result<()> {
    // In this order: the old group must not get the permissions.
    fchown(&file, None, Some(group))?;
    Ok(fchmod(&file, Mode::from_raw_mode(mode))?)
}

/// The path of an opened file, even if it was opened with `O_PATH`.
fn what_is_open(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
