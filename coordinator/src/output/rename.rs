//! Rename that never replaces.

use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Renames `from` to `to`; an error if something is there already.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    debug_assert_ne!(from, to, "a rename onto itself would say that something is in the way");
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems lack the flag. There, the lock on the folder is what keeps
        // others out.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        result => Ok(result?),
    }
}
