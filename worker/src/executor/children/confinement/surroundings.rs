//! All that a job may read. Landlock has only rules that allow a folder and all below it, and no
//! exceptions: so a folder is hidden by allowing, one by one, everything beside it and beside each
//! of the folders above it.
//!
//! A neighbour may be secret, too: another worker's folder, an authority's, a coordinator's. A job
//! of the same user can make such a folder unreadable, and must gain nothing by that. So a folder
//! is allowed only if it is *known* to be no secret; a folder that cannot be examined gets no rule.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::executor::{JOBS_FOLDER, WORKER_LOCK_FILE};
use crate::files::is_exhausted;

/// Files that mark a folder which no job should see: a folder is hidden if all files of one list
/// exist, or may exist.
const OF_OTHER_ROLES: [&[&str]; 2] = [
    // The authority of a cluster.
    &["ca-key.pem"],
    // The state folder of a coordinator.
    &["home", "journal", "lock"],
];

/// Calls `found` with everything around the folders `hidden`, whose paths must be absolute and
/// canonical, and need not exist. Each entry is passed open, so that nobody can replace it
/// meanwhile; `found` should close it, since there may be any number of entries.
///
/// # Errors
///
/// When a folder above one of them cannot be listed, and the errors of `found`.
pub(crate) fn surroundings<E: From<io::Error>>(
    hidden: &[PathBuf],
    mut found: impl FnMut(&Path, OwnedFd) -> Result<(), E>,
) -> Result<(), E> {
    debug_assert!(
        hidden.iter().all(|path| path.is_absolute() && path.parent().is_some()),
        "the root or a relative path cannot be hidden"
    );
    let mut ways = vec![PathBuf::from("/")];
    while let Some(way) = ways.pop() {
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("{} cannot be listed: {error}", way.display()))
        };
        for entry in fs::read_dir(&way).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if hidden.contains(&path) {
                continue;
            }
            if hidden.iter().any(|hidden| hidden.starts_with(&path)) {
                ways.push(path);
                continue;
            }
            let unopened = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            };
            if let Some(file) = open_readable(&path).map_err(unopened)? {
                found(&path, file)?;
            }
        }
    }
    Ok(())
}

/// The readable part of a neighbour; `None` if nothing of it may be read. An entry that is gone
/// needs no rule, and the target of a link has a rule of its own, or deliberately none.
fn open_readable(path: &Path) -> io::Result<Option<OwnedFd>> {
    let opened = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let Some(file) = unless_closed(path, opened)? else { return Ok(None) };
    let Some(found) = unless_closed(path, fstat(&file))? else { return Ok(None) };
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => return Ok(None),
        FileType::Directory => {}
        _ => return Ok(Some(file)),
    }
    let is_other_roles = |names: &&&[&str]| !names.iter().any(|name| is_absent(&file, name));
    if let Some(names) = OF_OTHER_ROLES.iter().find(is_other_roles) {
        let names = names.join(", ");
        tracing::info!(
            "jobs cannot read {}: it may be the folder of a cluster or a coordinator ({names} may be there)",
            path.display()
        );
        return Ok(None);
    }
    if is_absent(&file, WORKER_LOCK_FILE) {
        return Ok(Some(file));
    }
    // Of another worker's folder, its jobs' folders: reducers read each other's map outputs.
    tracing::info!(
        "jobs can read only the folder '{JOBS_FOLDER}' of {}: it may be another worker's ({WORKER_LOCK_FILE} may be there)",
        path.display()
    );
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    unless_closed(path, openat(&file, JOBS_FOLDER, flags, Mode::empty()))
}

/// `None` if the file is gone, or its file system or owner lets nobody examine it: then it cannot
/// be read either. This process's own lack of resources says nothing of the file, and is an error.
fn unless_closed<T>(path: &Path, result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result.map_err(io::Error::from) {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_exhausted(&error) => Err(error),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::info!("jobs cannot read {}: {error}", path.display());
            }
            Ok(None)
        }
    }
}

/// Whether it is certain that no role has a file of this name in the folder, or that this is no
/// folder. Files of other users do not count: any user could hide any folder from this user's jobs
/// with them; and another user's secrets are protected by permissions.
fn is_absent(folder: &OwnedFd, name: &str) -> bool {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found.st_uid != 0 && found.st_uid != geteuid().as_raw(),
        Err(error) => matches!(error, Errno::NOENT | Errno::NOTDIR),
    }
}

/// Whether it is certain that this is no worker's folder. Checked for a path that is to be written
/// to, and for the folders above it.
pub(super) fn is_no_workers(path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).is_ok_and(|folder| is_absent(&folder, WORKER_LOCK_FILE))
}
