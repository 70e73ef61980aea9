//! Replacing an output: what is visible is moved aside before the new parts come, and back if they
//! do not all come.
//!
//! ```text
//!  old entries --> replaced/ --> "all aside" --> new parts, new manifest --> replaced/ removed
//!       ^                            |  a failure: new parts taken back, then the mark, then
//!       +----------------------------+
//! ```
//!
//! As long as the mark is not there, whatever is visible is old; from then on, it is new. So at
//! every moment it is plain, to whoever comes after a crash, what belongs where. Folder and mark lie
//! in the publication's [own](super::own) folder, into which nobody else can put anything.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::folder::{Folder, PRIVATE};
use super::own::{self, PARTS};
use super::{BAD_RECORDS, PART, SUCCESS, TEMPORARY};
use crate::failpoint::{Failpoint, Step};

pub(super) const REPLACED: &str = "replaced";
pub(super) const ALL_ASIDE: &str = "replaced.all-aside";

/// What was visible before, in the folder of a publication.
pub(super) struct Replaced<'a> {
    output: &'a Folder,
    own: &'a Folder,
}

impl<'a> Replaced<'a> {
    pub(super) fn new(output: &'a Folder, own: &'a Folder) -> Self {
        Self { output, own }
    }

    fn aside(&self) -> io::Result<Option<Folder>> {
        self.own.folder_if_any(REPLACED)
    }

    /// Moves the visible result aside, and nothing else: what somebody has put beside it stays. The
    /// manifest goes first: what is left is not whole any more.
    pub(super) fn move_aside(&self, failpoint: &Failpoint) -> io::Result<()> {
        if self.own.has(ALL_ASIDE)? {
            return Ok(());
        }
        let aside = self.own.made_folder(REPLACED, PRIVATE)?;
        let mut names = results(self.output)?;
        names.sort_by_key(|name| name != SUCCESS);
        for name in names {
            self.output.rename_new(&name, &aside, &name)?;
            failpoint.reach(Step::MovedAside);
        }
        self.own.new_file(ALL_ASIDE)?;
        failpoint.reach(Step::AllAside);
        Ok(())
    }

    /// Moves it back, after all that is new was taken back. The manifest comes last.
    pub(super) fn restore(&self) -> io::Result<()> {
        self.own.remove_file(ALL_ASIDE)?;
        let Some(aside) = self.aside()? else { return Ok(()) };
        let mut names = results(&aside)?;
        names.sort_by_key(|name| name == SUCCESS);
        for name in names {
            aside.rename_new(&name, self.output, &name)?;
        }
        self.own.remove_folder(REPLACED)
    }

    /// The new output is whole: the old one is not needed any more.
    pub(super) fn remove(&self) -> io::Result<()> {
        self.own.remove_tree(REPLACED)?;
        self.own.remove_file(ALL_ASIDE)
    }

    /// Ends what a process that is gone has left half-done: forwards if the new output is whole,
    /// else backwards.
    fn settle(&self) -> io::Result<()> {
        if self.aside()?.is_none() {
            return Ok(());
        }
        if self.own.has(ALL_ASIDE)? {
            if self.output.has(SUCCESS)? {
                return self.remove();
            }
            // Which attempts wrote them is not known here.
            let undone = self.own.made_folder(PARTS, PRIVATE)?;
            for name in results(self.output)? {
                self.output.rename_new(&name, &undone, &name)?;
            }
        }
        self.restore()
    }
}

/// Ends every publication that was left half-done in `output`, which nobody else has now.
/// Folders are believed that were made by whom `us` was made by.
pub(super) fn settle_all(output: &Folder, temporary: &Folder, us: &Stat) -> io::Result<()> {
    for own in own::of_dead_jobs(temporary, us)? {
        Replaced::new(output, &own.folder).settle()?;
        own.folder.remove_tree(PARTS)?;
        own.remove(temporary)?;
    }
    Ok(())
}

/// Whether a publication was left half-done in `output`: then it is not plain yet what is in there.
pub(super) fn is_unsettled(output: &Folder) -> bool {
    let look = || {
        let Some(temporary) = output.folder_if_any(TEMPORARY)? else { return Ok(false) };
        let mut all = own::named(&temporary, None)?.into_iter();
        Ok::<_, io::Error>(all.any(|own| own::has_replaced(&temporary, &own).unwrap_or(false)))
    };
    look().unwrap_or(false)
}

/// The first entry of an output folder, by name, that no job writes there.
pub(super) fn foreign_in(output: &Folder) -> io::Result<Option<PathBuf>> {
    let is_foreign =
        |name: &OsStr, kind| name != TEMPORARY && !is_result(name.as_encoded_bytes(), kind);
    let first = |found: Vec<(OsString, FileType)>| found.into_iter().map(|(name, _)| name).min();
    if let Some(name) = first(output.entries(is_foreign)?) {
        return Ok(Some(output.at(name)));
    }
    let Some(bad_records) = output.folder_if_any(BAD_RECORDS)? else { return Ok(None) };
    let is_foreign = |name: &OsStr, kind| {
        let is_list = Path::new(name).extension().is_some_and(|end| end == "jsonl");
        !is_list || kind == FileType::Directory
    };
    Ok(first(bad_records.entries(is_foreign)?).map(|name| bad_records.at(name)))
}

/// Whether an entry can be of a result, this version's or another one's, by its name and kind.
fn is_result(name: &[u8], kind: FileType) -> bool {
    match kind {
        FileType::Directory => name == BAD_RECORDS.as_bytes(),
        _ => name == SUCCESS.as_bytes() || name.starts_with(PART.as_bytes()),
    }
}

/// The names of what can be of a result.
fn results(folder: &Folder) -> io::Result<Vec<OsString>> {
    let results = folder.entries(|name, kind| is_result(name.as_encoded_bytes(), kind))?;
    Ok(results.into_iter().map(|(name, _)| name).collect())
}
