//! Removes a folder with all that is in it, whatever a job has put there.

use std::ffi::{OsStr, OsString};
use std::io;

use rustix::fs::AtFlags;

use super::folder::{Folder, if_any, one};
use super::{SUCCESS, TEMPORARY};

/// Entries that are listed at once: a job may have made any number of them.
const ENTRIES_MAX: usize = 4_096;
/// So often, what is in a folder is listed anew. Once is enough for so many entries, and for each
/// level of folders, unless somebody goes on to write there.
const PASSES_MAX: usize = 25_000;

const _: () = {
    assert!(ENTRIES_MAX > 0, "a full folder would be taken for an empty one");
    assert!(ENTRIES_MAX * PASSES_MAX > 100_000_000, "a large job's files would stay");
};

impl Folder {
    /// Removes what has this name, with all that is in it. Follows no link, and needs two
    /// descriptors and no stack, however deep it is: what lies in a folder of a folder is moved up
    /// first.
    pub(super) fn remove_tree(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = one(name.as_ref())?;
        debug_assert_ne!(name, SUCCESS, "a manifest is taken back, and not removed with a tree");
        debug_assert_ne!(name, TEMPORARY, "other jobs may have something in there");
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
        let text = "somebody goes on to write there while it is removed";
        Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
    }

    /// Empties a folder in this one, but for what is too much for once: folders in it come here.
    fn move_up_some(&self, name: &OsStr, moved: &mut u64) -> io::Result<()> {
        let Some(inner) = self.folder_if_any(name)? else { return Ok(()) };
        debug_assert!(
            inner.path().starts_with(self.path()) && inner.path() != self.path(),
            "what is moved up comes from below"
        );
        for (within, _) in inner.some_entries(ENTRIES_MAX, |_, _| true)? {
            while !inner.remove_at_once(&within)? {
                *moved += 1;
                let here = OsString::from(format!("removed.{moved}"));
                match if_any(inner.rename_new(&within, self, here)) {
                    Ok(_) => break,
                    // Somebody has thought of the same name.
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

    /// Removes what is no folder, or an empty one. False for a folder in which there is something.
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
