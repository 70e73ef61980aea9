//! What this user may do with its own files. A job has the same user, and takes it away from
//! whatever it can open.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, chmod, fstat, open};

/// To read, list and enter, and to change what is in it.
pub(crate) const OF_A_FOLDER: u32 = 0o700;

/// Opens something, whatever its permissions, to see and change those. Follows no link.
pub(crate) fn open_path(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Has this user have these rights at least, if it is the owner.
///
/// # Errors
/// When the system says so.
pub(crate) fn give_back(file: impl AsFd, rights: u32) -> io::Result<()> {
    let file = file.as_fd();
    let found = fstat(file)?;
    let mode = found.st_mode & 0o7777;
    if mode & rights == rights || found.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    // What was opened, also where nothing but its path could be.
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = fs::read_link(&opened).unwrap_or_default();
    tracing::info!(path = %path.display(), "this user owns it, and could not use it; giving back the rights");
    Ok(chmod(opened, Mode::from_raw_mode(mode | rights))?)
}

/// Has this user have these rights at least, if it is the owner of what is there and no link.
///
/// # Errors
/// When the system says so.
pub(crate) fn give_back_at(path: &Path, rights: u32) -> io::Result<()> {
    give_back(open_path(path, OFlags::empty())?, rights)
}
