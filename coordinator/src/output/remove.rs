//! Removes a folder with all its content, whatever a job has put there.

use std::ffi::{OsStr, OsString};
use std::io;

use rustix::fs::AtFlags;

use super::folder::{Folder, if_any, one};
use super::{SUCCESS, TEMPORARY};

/// Entries that are listed at once: a job may have made any number.
const ENTRIES_MAX: usize = 4_096;
/// How often the content of a folder is listed. One listing suffices for so many entries and for
/// each level of folders, unless a process keeps adding to them.
const PASSES_MAX: usize = 25_000;

const _: () = {
    assert!(ENTRIES_MAX > 0, "a full folder would be taken for an empty one");
    assert!(ENTRIES_MAX * PASSES_MAX > 100_000_000, "files of a large job would stay");
};

impl Folder {
    /// Removes the entry of this name with all its content. Follows no link, and needs two
    /// descriptors and no recursion, however deep the tree is: entries of subfolders are moved up
    /// first.
    pub(super) fn remove_tree(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = one(name.as_ref())?;
        debug_assert_ne!(name, SUCCESS, "a manifest is never removed with a tree");
        debug_assert_ne!(name, TEMPORARY, "other jobs may have folders in there");
        if self.remove_at_once(name)? {
            return Ok(());
        }
        if let Some(folder) = self.folder_if_any(name)? {
            folder.empty()?;
        }
        self.remove_folder(name)
    }

    fn empty(&self) -> io::Result<()> {
        let mut moved = 0;
        for _ in 0..PASSES_MAX {
            let entries = self.some_entries(ENTRIES_MAX, |_, _| true)?;
            if entries.is_empty() {
                return Ok(());
            }
            for (name, _) in entries {
                if !self.remove_at_once(&name)? {
                    self.move_up_some(&name, &mut moved)?;
                }
            }
        }
        let text = "another process keeps writing there while it is removed";
        Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
    }

    /// Moves entries of a subfolder up into this folder, a bounded number at a time.
    fn move_up_some(&self, name: &OsStr, moved: &mut u64) -> io::Result<()> {
        let Some(inner) = self.folder_if_any(name)? else { return Ok(()) };
        debug_assert!(
            inner.path().starts_with(self.path()) && inner.path() != self.path(),
            "entries are moved up from a subfolder"
        );
        for (within, _) in inner.some_entries(ENTRIES_MAX, |_, _| true)? {
            while !inner.remove_at_once(&within)? {
                *moved += 1;
                let here = OsString::from(format!("removed.{moved}"));
                match if_any(inner.rename_new(&within, self, here)) {
                    Ok(_) => break,
                    // The name is taken.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
        }
        match self.remove_folder(name) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed,
        }
    }

    /// Removes a file or an empty folder. False for a folder that is not empty.
    fn remove_at_once(&self, name: &OsStr) -> io::Result<bool> {
        use io::ErrorKind::{DirectoryNotEmpty, IsADirectory, PermissionDenied};

        let not_a_file = match self.unlink(name, AtFlags::empty()) {
            Ok(()) => return Ok(true),
            Err(error) if matches!(error.kind(), IsADirectory | PermissionDenied) => error,
            Err(error) => return Err(error),
        };
        match self.unlink(name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == DirectoryNotEmpty => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(not_a_file),
            Err(error) => Err(error),
        }
    }
}
