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

use crate::executor::{JOBS_FOLDER, WORKER_LOCK_FILE};

/// Files by which a folder is known that no job should see: where all of one line are, or may be,
/// it is one.
const OF_OTHER_ROLES: [&[&str]; 2] = [
    // The authority of a cluster.
    &["ca-key.pem"],
    // What a coordinator remembers.
    &["home", "journal", "lock"],
];

/// Something that may be read with all that is below it, opened so that nobody can put something
/// else there meanwhile.
pub(crate) struct Readable {
    pub(crate) file: OwnedFd,
    /// By which it was found.
    #[cfg_attr(not(test), expect(dead_code, reason = "asked for by tests"))]
    pub(crate) path: PathBuf,
}

/// All that surrounds the folders `hidden`, which must be absolute and without links, and need not
/// be there.
///
/// # Errors
/// When a folder above one of them cannot be listed.
pub(crate) fn surroundings(hidden: &[PathBuf]) -> io::Result<Vec<Readable>> {
    debug_assert!(
        hidden.iter().all(|path| path.is_absolute() && path.parent().is_some()),
        "the root cannot be hidden, and a relative path is nowhere"
    );
    let mut found = Vec::new();
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
            } else if let Some(file) = open_readable(&path) {
                found.push(Readable { file, path });
            }
        }
    }
    Ok(found)
}

/// What of this may be read; `None` for nothing of it. What is gone by now needs no rule, and a
/// link is followed to what has a rule of its own, or has none for a reason.
fn open_readable(path: &Path) -> Option<OwnedFd> {
    let file = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    match FileType::from_raw_mode(fstat(&file).ok()?.st_mode) {
        FileType::Symlink => return None,
        FileType::Directory => {}
        _ => return Some(file),
    }
    let is_other_roles = |names: &&[&str]| !names.iter().any(|name| is_absent(&file, name));
    if OF_OTHER_ROLES.iter().any(is_other_roles) {
        return None;
    }
    if is_absent(&file, WORKER_LOCK_FILE) {
        return Some(file);
    }
    // Of another worker's folder, what its jobs have: reducers read each other's map outputs.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&file, JOBS_FOLDER, flags, Mode::empty()).ok()
}

/// Whether it is certain that there is nothing of this name in the folder.
fn is_absent(folder: &OwnedFd, name: &str) -> bool {
    matches!(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

/// Whether it is certain that this is no worker's folder. It is asked of folders above a path that
/// somebody wants to write to.
pub(super) fn is_no_workers(path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).is_ok_and(|folder| {
        matches!(
            statat(&folder, WORKER_LOCK_FILE, AtFlags::SYMLINK_NOFOLLOW),
            // The second of what is no folder.
            Err(Errno::NOENT | Errno::NOTDIR)
        )
    })
}
