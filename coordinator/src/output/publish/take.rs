//! Finds the parts to publish: where their attempts wrote them, or in the publication's private
//! folder.

use std::io::{self, Write};

use rustix::fs::Stat;
use windrow_scheduler::Unpublished;

use super::part::{self, check, copy_crc64, failed_at, has_one_link};
use super::{Commit, Publication};
use crate::output::StagedPart;
use crate::output::folder::{Folder, PRIVATE, if_any};
use crate::output::private_folder::PARTS;
use crate::parallel_io::try_for_each;

/// The name of a part that was taken back without being read: it is read before it becomes visible
/// again.
pub(super) fn unread(name: &str) -> String {
    debug_assert!(!name.starts_with("unread."), "the part would never be found again");
    format!("unread.{name}")
}

impl Commit<'_> {
    /// An earlier try may still hold a descriptor of its folder of parts: they are moved out of its
    /// reach. Parts that it had taken back are moved already.
    pub(super) fn take_parts_over(&self) -> io::Result<()> {
        if !self.staged.is_new {
            let parts = self.own.folder.made_folder(PARTS, PRIVATE)?;
            let Publication { parts: all, bad_records, .. } = self.publication;
            let take = |part: &StagedPart| {
                self.stop.go_on()?;
                let name = part.staged_name();
                match if_any(self.staged.folder.rename_new(&name, &parts, &name)) {
                    // The job has written another file of this name since, in vain.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    moved => moved.map(drop),
                }
            };
            try_for_each(all, take)?;
            try_for_each(bad_records, take)?;
        }
        debug_assert!(self.parts.get().is_none(), "parts would be looked for in the wrong folder");
        if let Some(parts) = self.own.folder.folder_if_any(PARTS)? {
            let _ = self.parts.set(parts);
        }
        Ok(())
    }

    /// The folder of the part, and its status: it has the reported size and kind, and no other hard
    /// link.
    pub(super) fn find(
        &self,
        part: &StagedPart,
        name: &str,
    ) -> Result<(&Folder, Stat), Unpublished> {
        debug_assert_eq!(name, part.staged_name(), "another part would become visible");
        let (from, seen) = self.look_up(part, name)?;
        check(&seen, part, from, name)?;
        match has_one_link(&seen) {
            true => Ok((from, seen)),
            false => self.copy(from, part, name),
        }
    }

    fn look_up(&self, part: &StagedPart, name: &str) -> Result<(&Folder, Stat), Unpublished> {
        let staged = &self.staged.folder;
        if let Some(parts) = self.parts.get() {
            let failed = |error: io::Error| failed_at(&parts.at(name), &error);
            if let Some(seen) = if_any(parts.stat(name)).map_err(failed)? {
                return Ok((parts, seen));
            }
            let unread = unread(name);
            if parts.has(&unread).map_err(failed)? {
                if self.reads(part, parts, &unread) {
                    parts.rename_new(&unread, parts, name).map_err(failed)?;
                    return Ok((parts, parts.stat(name).map_err(failed)?));
                }
                self.go_on()?;
                // The file is not the job's part, which may still be where its attempt has left it.
                if !staged.has(name).map_err(failed)? {
                    let message = "its bytes are not those that its task wrote".into();
                    return Err(part::corrupt(&parts.at(unread), 0, message));
                }
            }
        }
        let seen = staged.stat(name).map_err(|error| failed_at(&staged.at(name), &error))?;
        Ok((staged, seen))
    }

    /// Copies a part with another hard link, made by a backup program, or by its job to change it
    /// later. The copy has the bytes that the task wrote, or an error is returned.
    fn copy(
        &self,
        from: &Folder,
        part: &StagedPart,
        name: &str,
    ) -> Result<(&Folder, Stat), Unpublished> {
        let failed = |error: io::Error| failed_at(&from.at(name), &error);
        let parts = self.kept_parts().map_err(failed)?;
        let copy = format!("copy.{name}");
        let make = || {
            parts.remove_file(&copy)?;
            let (file, mut to) = (from.file(name)?, parts.new_file(&copy)?);
            let go_on = || !self.stop.is_stopped();
            let read = copy_crc64(file, part.bytes, go_on, |bytes| to.write_all(bytes))?;
            Ok::<_, io::Error>(read)
        };
        let read = make().map_err(failed)?;
        self.go_on()?;
        if read != Some((part.bytes, part.crc64)) {
            let _ = parts.remove_file(&copy);
            let message = "it has another hard link, and its bytes are not those \
                           that its task wrote";
            return Err(part::corrupt(&from.at(name), 0, message.into()));
        }
        parts.replace(&copy, name).map_err(failed)?;
        let seen = parts.stat(name).map_err(failed)?;
        check(&seen, part, parts, name)?;
        Ok((parts, seen))
    }

    /// The folder for parts out of reach of jobs.
    pub(super) fn kept_parts(&self) -> io::Result<&Folder> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let parts = self.own.folder.made_folder(PARTS, PRIVATE)?;
        debug_assert!(
            parts.path().starts_with(self.own.folder.path()),
            "jobs may write to all other folders"
        );
        Ok(self.parts.get_or_init(|| parts))
    }

    /// Takes back a file that must not be visible.
    pub(super) fn refuse(&self, from: &Folder, visible: &str, name: &str) {
        debug_assert_ne!(
            from.path(),
            self.own.folder.path(),
            "the file is taken back from a visible folder"
        );
        debug_assert_ne!(visible, name, "the private name must differ from the visible one");
        let taken = self.kept_parts().and_then(|parts| {
            parts.remove_tree(name)?;
            from.rename_new(visible, parts, name)
        });
        if let Err(error) = taken {
            let path = from.at(visible);
            tracing::error!(path = %path.display(), %error, "cannot take back a file that is not part of this job; it stays");
        }
    }
}
