//! All that a job may read. Landlock knows rules that allow, for a folder and all below it, and no
//! exceptions: so what hides a folder is that everything beside it, and beside each of the folders
//! above it, is allowed by itself.
//!
//! What lies beside may be somebody else's secret: another worker's folder, an authority's, a
//! coordinator's. A job that has the same user can make such a folder unreadable, and must gain
//! nothing by it. So a folder is allowed only where it is *known* to be nobody's secret: where it
//! cannot be looked into, there is no rule.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::executor::{JOBS_FOLDER, WORKER_LOCK_FILE};
use crate::files::is_exhausted;

/// Files by which a folder is known that no job should see: it is one where all files of a line are
/// there, or may be.
const OF_OTHER_ROLES: [&[&str]; 2] = [
    // The authority of a cluster.
    &["ca-key.pem"],
    // What a coordinator remembers.
    &["home", "journal", "lock"],
];

/// Calls `found` with all that surrounds the folders `hidden`, which must be absolute and without
/// links, and need not be there. What is found is open, so that nobody can put something else in
/// its place meanwhile; `found` is to close it, since there may be any number of things.
///
/// # Errors
/// When a folder above one of them cannot be listed, and those of `found`.
pub(crate) fn surroundings<E: From<io::Error>>(
    hidden: &[PathBuf],
    mut found: impl FnMut(&Path, OwnedFd) -> Result<(), E>,
) -> Result<(), E> {
    debug_assert!(
        hidden.iter().all(|path| path.is_absolute() && path.parent().is_some()),
        "the root cannot be hidden, and a relative path is nowhere"
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

/// What of this may be read; `None` for nothing of it. What is gone by now needs no rule, and a
/// link is followed to what has a rule of its own, or has none for a reason.
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
    // Of another worker's folder, what its jobs have: reducers read each other's map outputs.
    tracing::info!(
        "of {}, jobs can read the folder '{JOBS_FOLDER}' only: it may be another worker's ({WORKER_LOCK_FILE} may be there)",
        path.display()
    );
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    unless_closed(path, openat(&file, JOBS_FOLDER, flags, Mode::empty()))
}

/// `None` where the file is gone, or where its file system or its owner lets nobody look at it:
/// then there is nothing to be read. That this process has run out of something says nothing of the
/// file.
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
/// folder. What another user has put there says nothing: that user could keep this user's jobs from
/// any folder by it, and closes secrets by permissions.
fn is_absent(folder: &OwnedFd, name: &str) -> bool {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found.st_uid != 0 && found.st_uid != geteuid().as_raw(),
        Err(error) => matches!(error, Errno::NOENT | Errno::NOTDIR),
    }
}

/// Whether it is certain that this is no worker's folder. It is asked of a path that somebody wants
/// to write to, and of the folders above it.
pub(super) fn is_no_workers(path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).is_ok_and(|folder| is_absent(&folder, WORKER_LOCK_FILE))
}
