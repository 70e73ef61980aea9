//! What a publication that fails takes back. It ends however large the files are that somebody has
//! put there: what it need not read, it does not read.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Commit;
use super::part::{check, is_of};
use super::take::unread;
use crate::output::folder::{Folder, if_any};
use crate::output::replace::{ALL_ASIDE, REPLACED};
use crate::output::{BAD_RECORDS, SUCCESS, StagedPart};

/// As much is read of all parts together to find out whose they are.
const READ_MAX: u64 = 1 << 30;
/// As much is read at a time.
const READ: u64 = 1 << 20;

const _: () = assert!(READ <= READ_MAX, "nothing would be read, and no part be known again");

impl Commit<'_> {
    /// The manifest goes first: what it names is whole as long as it is there. Parts go to where no
    /// job can reach them, so that all can be done once more.
    /// Returns the folder where the output stays that was to be replaced and is not back.
    pub(super) fn undo(&self) -> Option<PathBuf> {
        if !self.own.is_there(&self.temporary) {
            // Somebody else has taken over, and all of this is theirs.
            return None;
        }
        if let Err(error) = self.take_back() {
            let path = self.output.path().display();
            tracing::error!(%path, %error, "the output of a failed job cannot be taken back, and stays");
        } else if let Err(error) = self.replaced().restore() {
            let folder = self.own.folder.path().display();
            tracing::error!(%folder, %error, "the output that was to be replaced cannot be put back, and stays there");
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
        // From the mark on, whatever has the name of a part is new.
        let all_is_new = own.has(ALL_ASIDE)?;
        let readable = AtomicU64::new(READ_MAX);
        let _ = self.open_bad_records(false);
        // One that cannot be taken back does not keep the others.
        let _ = self.each_file(|part| {
            let from = self.visible_folder(part)?;
            let visible = self.visible_name(part);
            let taken = match self.kept_as(part, from, parts, all_is_new, &readable) {
                Ok(None) => return Ok(()),
                // Another file of its name was left by its job, after the part had become visible.
                Ok(Some(kept)) => parts
                    .remove_tree(&kept)
                    .and_then(|()| from.rename_new(&visible, parts, &kept)),
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                let path = from.at(visible);
                tracing::warn!(path = %path.display(), %error, "cannot take back a part of a failed job, which stays");
            }
            Ok(())
        });
        if !self.publication.bad_records.is_empty() {
            // It stays if anything is in it that is not this job's.
            let _ = self.output.remove_folder(BAD_RECORDS);
        }
        Ok(())
    }

    /// The name under which the visible part is kept, so that all can be done once more. None if
    /// nothing visible is this job's. What this try has not placed, a former one has, where it is
    /// not where its attempt left it: it is read before it becomes visible again, and not now.
    fn kept_as(
        &self,
        part: &StagedPart,
        from: &Folder,
        parts: &Folder,
        all_is_new: bool,
        readable: &AtomicU64,
    ) -> io::Result<Option<String>> {
        debug_assert_ne!(from.path(), parts.path(), "what is kept already is not visible");
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
        // Its job has left another one of its name, or somebody else has put this one there.
        let go_on = || {
            let spend = |left: u64| left.checked_sub(READ);
            !self.stop.is_stopped()
                && readable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
        };
        match is_of(from.file(&visible)?, part, go_on) {
            true => Ok(Some(staged)),
            false if go_on() => Ok(None),
            false => Err(io::Error::other("it was not read to see whose it is")),
        }
    }
}
