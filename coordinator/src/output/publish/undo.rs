//! Undoes a failed publication. It ends however large the foreign files are: it reads only what it
//! must.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Commit;
use super::part::{check, is_of};
use super::take::unread;
use crate::output::folder::{Folder, if_any};
use crate::output::replace::{ALL_ASIDE, REPLACED};
use crate::output::{BAD_RECORDS, SUCCESS, StagedPart};

/// Bytes that are read of all parts together to recognise them.
const READ_MAX: u64 = 1 << 30;
/// Bytes that are read at a time.
const READ: u64 = 1 << 20;

const _: () = assert!(READ <= READ_MAX, "nothing would be read, and no part recognised");

impl Commit<'_> {
    /// The manifest goes first: the parts that it names are complete as long as it exists. Parts
    /// are moved out of reach of jobs, so that the publication can be repeated. Returns the folder
    /// of the old output, if it could not be put back.
    pub(super) fn undo(&self) -> Option<PathBuf> {
        if !self.own.is_there(&self.temporary) {
            // Another coordinator has taken over, and owns all of this.
            return None;
        }
        if let Err(error) = self.take_back() {
            let path = self.output.path().display();
            tracing::error!(%path, %error, "cannot take back the output of a failed job; it stays");
        } else if let Err(error) = self.replaced().restore() {
            let folder = self.own.folder.path().display();
            tracing::error!(%folder, %error, "cannot put the old output back; it stays in this folder");
        }
        let aside = self.own.folder.folder_if_any(REPLACED).ok().flatten();
        aside.filter(|aside| !aside.is_empty().unwrap_or(false)).map(|aside| aside.path().into())
    }

    pub(super) fn take_back(&self) -> io::Result<()> {
        let own = &self.own.folder;
        if self.is_done() {
            own.remove_file(SUCCESS)?;
            self.output.rename_new(SUCCESS, own, SUCCESS)?;
        }
        let parts = self.kept_parts()?;
        // With the mark, every visible part is new.
        let all_is_new = own.has(ALL_ASIDE)?;
        let readable = AtomicU64::new(READ_MAX);
        let _ = self.open_bad_records(false);
        // A part that cannot be taken back does not keep the others from it.
        let _ = self.each_file(|part| {
            let from = self.visible_folder(part)?;
            let visible = self.visible_name(part);
            let taken = match self.kept_as(part, from, parts, all_is_new, &readable) {
                Ok(None) => return Ok(()),
                // The job has left another file of this name after the part had become visible.
                Ok(Some(kept)) => parts
                    .remove_tree(&kept)
                    .and_then(|()| from.rename_new(&visible, parts, &kept)),
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                let path = from.at(visible);
                tracing::warn!(path = %path.display(), %error, "cannot take back a part of a failed job; it stays");
            }
            Ok(())
        });
        if !self.publication.bad_records.is_empty() {
            // The folder stays if it has foreign files.
            let _ = self.output.remove_folder(BAD_RECORDS);
        }
        Ok(())
    }

    /// The name under which the visible part is kept, so that the publication can be repeated.
    /// `None` if the visible file is not this job's. A part that this try has not placed, but that
    /// is not where its attempt left it, was placed by an earlier try: it is read before it becomes
    /// visible again, and not now.
    fn kept_as(
        &self,
        part: &StagedPart,
        from: &Folder,
        parts: &Folder,
        all_is_new: bool,
        readable: &AtomicU64,
    ) -> io::Result<Option<String>> {
        debug_assert_ne!(from.path(), parts.path(), "a kept part is not visible");
        let (staged, visible) = (part.staged_name(), self.visible_name(part));
        debug_assert_ne!(staged, visible, "a loser's part would be taken for the winner's");
        let Some(seen) = if_any(from.stat(&visible))? else { return Ok(None) };
        if self.placed.has(self.publication, part, &seen) {
            return Ok(Some(staged));
        }
        if check(&seen, part, from, &visible).is_err() {
            return Ok(None);
        }
        let is_elsewhere = self.staged.folder.has(&staged)? || parts.has(&staged)?;
        if all_is_new || !is_elsewhere {
            return Ok(Some(unread(&staged)));
        }
        // The job has left another file of this name, or the visible file is foreign.
        let go_on = || {
            let spend = |left: u64| left.checked_sub(READ);
            !self.stop.is_stopped()
                && readable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
        };
        match is_of(from.file(&visible)?, part, go_on) {
            true => Ok(Some(staged)),
            false if go_on() => Ok(None),
            false => Err(io::Error::other("it was not read to see whether it is the job's")),
        }
    }
}
