//! Where the parts are that are to become visible: where their attempts wrote them, or where this
//! publication keeps what no job can reach any more.

use std::io::{self, Write};

use rustix::fs::Stat;
use windrow_scheduler::Unpublished;

use super::part::{self, check, copy_crc64, failed_at, has_one_link};
use super::{Commit, Publication};
use crate::output::StagedPart;
use crate::output::folder::{Folder, PRIVATE, if_any};
use crate::output::private_folder::PARTS;
use crate::parallel_io::try_for_each;

/// What was taken back without having been read: it is, before it becomes visible again.
pub(super) fn unread(name: &str) -> String {
    debug_assert!(!name.starts_with("unread."), "it would never be found again");
    format!("unread.{name}")
}

impl Commit<'_> {
    /// Whoever has begun before may still hold a descriptor of the folder where parts are: they are
    /// moved to where it cannot get at them. Those that it had taken back are there already.
    pub(super) fn take_parts_over(&self) -> io::Result<()> {
        if !self.staged.is_new {
            let parts = self.own.folder.made_folder(PARTS, PRIVATE)?;
            let Publication { parts: all, bad_records, .. } = self.publication;
            let take = |part: &StagedPart| {
                self.stop.go_on()?;
                let name = part.staged_name();
                match if_any(self.staged.folder.rename_new(&name, &parts, &name)) {
                    // A job has written another one since, in vain.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    moved => moved.map(drop),
                }
            };
            try_for_each(all, take)?;
            try_for_each(bad_records, take)?;
        }
        debug_assert!(self.parts.get().is_none(), "some would be looked for where they are not");
        if let Some(parts) = self.own.folder.folder_if_any(PARTS)? {
            let _ = self.parts.set(parts);
        }
        Ok(())
    }

    /// Where the part is now, and what lies there: it can be what its attempt has reported, and has
    /// no other name.
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
                // It was no part of this job. Its own may be where its attempt has left it.
                if !staged.has(name).map_err(failed)? {
                    let message = "its bytes are not those that its task wrote".into();
                    return Err(part::corrupt(&parts.at(unread), 0, message));
                }
            }
        }
        let seen = staged.stat(name).map_err(|error| failed_at(&staged.at(name), &error))?;
        Ok((staged, seen))
    }

    /// Copies a part that has another name besides: a backup by links may have given it that, or
    /// its job, to change it later. The copy is what its task wrote, or there is none.
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
            let message = "it is a file with another name besides, and its bytes are not those \
                           that its task wrote";
            return Err(part::corrupt(&from.at(name), 0, message.into()));
        }
        parts.replace(&copy, name).map_err(failed)?;
        let seen = parts.stat(name).map_err(failed)?;
        check(&seen, part, parts, name)?;
        Ok((parts, seen))
    }

    /// Where parts are that no job can reach any more.
    pub(super) fn kept_parts(&self) -> io::Result<&Folder> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let parts = self.own.folder.made_folder(PARTS, PRIVATE)?;
        debug_assert!(
            parts.path().starts_with(self.own.folder.path()),
            "jobs may write to all others"
        );
        Ok(self.parts.get_or_init(|| parts))
    }

    /// Takes back what must not be visible.
    pub(super) fn refuse(&self, from: &Folder, visible: &str, name: &str) {
        debug_assert_ne!(from.path(), self.own.folder.path(), "it is taken out of what is visible");
        debug_assert_ne!(visible, name, "whoever settles it moves what is visible there, too");
        let taken = self.kept_parts().and_then(|parts| {
            parts.remove_tree(name)?;
            from.rename_new(visible, parts, name)
        });
        if let Err(error) = taken {
            let path = from.at(visible);
            tracing::error!(path = %path.display(), %error, "what is no part of this job cannot be taken back, and stays");
        }
    }
}
