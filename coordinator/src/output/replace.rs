//! Replacing an output: the old output is moved aside before the new parts come, and back if they
//! do not all come.
//!
//! ```text
//!  old entries --> replaced/ --> "all aside" --> new parts, new manifest --> replaced/ removed
//!       ^                            |  a failure: new parts taken back, then the mark, then
//!       +----------------------------+
//! ```
//!
//! Without the mark, visible entries are old; with the mark, they are new. So after a crash at any
//! moment, each entry's origin is known. Folder and mark lie in the publication's [private
//! folder](super::private_folder), which nobody else can write to.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use windrow_scheduler::journal::Epoch;

use super::folder::{Folder, PRIVATE};
use super::private_folder::{self, ExpectedOwner, Found, PARTS, PrivateFolder};
use super::stop::Stop;
use super::{BAD_RECORDS, OutputError, PART, SUCCESS, TEMPORARY};
use crate::failpoint::{Failpoint, FailpointId};
use crate::parallel_io::try_for_each;

pub(super) const REPLACED: &str = "replaced";
pub(super) const ALL_ASIDE: &str = "replaced.all-aside";

/// The old output, in the private folder of a publication.
pub(super) struct Replaced<'a> {
    output: &'a Folder,
    own: &'a Folder,
}

impl<'a> Replaced<'a> {
    pub(super) fn new(output: &'a Folder, own: &'a Folder) -> Self {
        debug_assert!(
            own.path().starts_with(output.path()) && own.path() != output.path(),
            "the old output is put back to where it was"
        );
        Self { output, own }
    }

    fn aside(&self) -> io::Result<Option<Folder>> {
        self.own.folder_if_any(REPLACED)
    }

    /// Moves the visible result aside; foreign files stay. The manifest goes first, since the rest
    /// is not complete any more. The publication can be stopped before each entry.
    pub(super) fn move_aside(&self, failpoint: &Failpoint, stop: &Stop) -> io::Result<()> {
        if self.own.has(ALL_ASIDE)? {
            return Ok(());
        }
        let aside = self.own.made_folder(REPLACED, PRIVATE)?;
        let (first, names) = manifest_and_others(self.output)?;
        let to_aside = |name: &OsString| -> io::Result<()> {
            stop.go_on()?;
            self.output.rename_new(name, &aside, name)?;
            failpoint.reach(FailpointId::MovedAside);
            Ok(())
        };
        first.iter().try_for_each(to_aside)?;
        debug_assert!(
            !self.own.path().ends_with(REPLACED),
            "a mark in there would be put back with the output"
        );
        try_for_each(&names, to_aside)?;
        self.own.new_file(ALL_ASIDE)?;
        failpoint.reach(FailpointId::AllAside);
        Ok(())
    }

    /// Moves the old output back, after everything new was taken back. The manifest comes last.
    pub(super) fn restore(&self) -> io::Result<()> {
        self.own.remove_file(ALL_ASIDE)?;
        let Some(aside) = self.aside()? else { return Ok(()) };
        let (last, names) = manifest_and_others(&aside)?;
        let back = |name: &OsString| aside.rename_new(name, self.output, name);
        try_for_each(&names, back)?;
        last.iter().try_for_each(back)?;
        self.own.remove_folder(REPLACED)
    }

    /// Removes the old output, once the new one is complete.
    pub(super) fn remove(&self) -> io::Result<()> {
        self.own.remove_tree(REPLACED)?;
        self.own.remove_file(ALL_ASIDE)
    }

    /// Finishes the publication of a dead process: forwards if the new output is complete,
    /// otherwise backwards.
    fn settle(&self) -> io::Result<()> {
        if self.aside()?.is_none() {
            return Ok(());
        }
        if self.own.has(ALL_ASIDE)? {
            if self.output.has(SUCCESS)? {
                return self.remove();
            }
            // The attempts that wrote the parts are not known here.
            let undone = self.own.made_folder(PARTS, PRIVATE)?;
            let names = results(self.output)?;
            try_for_each(&names, |name| self.output.rename_new(name, &undone, name))?;
        }
        self.restore()
    }
}

/// Finishes every unfinished publication in `output`, which this job holds now. An old output that
/// cannot be put back stays aside, and is named in the error: it may be the only copy.
pub(super) fn settle_all(
    output: &Folder,
    temporary: &Folder,
    unique: &str,
) -> Result<(), OutputError> {
    let failed = || OutputError::not_writable(temporary.path());
    let left = private_folder::named(temporary, None).map_err(failed())?;
    if left.is_empty() {
        return Ok(());
    }
    let yardstick = expected_owner(temporary, unique).map_err(failed())?;
    for named in left {
        if let Found::Doubtful { why, .. } = yardstick.look(temporary, &named).map_err(failed())?
            && private_folder::may_have_replaced(temporary, &named)
        {
            return Err(stays_aside(output, &temporary.at(&named.name), why));
        }
    }
    for own in private_folder::of_dead_jobs(temporary, &yardstick).map_err(failed())? {
        Replaced::new(output, &own.folder)
            .settle()
            .map_err(|error| stays_aside(output, own.folder.path(), error.to_string()))?;
        own.folder.remove_tree(PARTS).map_err(failed())?;
        own.remove(temporary).map_err(failed())?;
    }
    Ok(())
}

/// The owner and mode that this file system shows for a fresh private folder.
fn expected_owner(temporary: &Folder, unique: &str) -> io::Result<ExpectedOwner> {
    debug_assert!(!unique.is_empty(), "nobody could tell the folder's owner");
    // Its epoch is below all others, so that any coordinator may take it over.
    let ours = PrivateFolder::make(temporary, unique, Epoch(0))?;
    let yardstick = ours.yardstick();
    ours.remove(temporary)?;
    yardstick
}

fn stays_aside(output: &Folder, own: &Path, why: String) -> OutputError {
    debug_assert!(!why.is_empty(), "the owner must learn what to do");
    debug_assert!(own.starts_with(output.path()), "the only copy would be looked for elsewhere");
    OutputError::Aside { path: output.path().to_path_buf(), aside: own.to_path_buf(), why }
}

/// Whether `output` has an unfinished publication: then the origin of its content is not settled
/// yet.
pub(super) fn is_unsettled(output: &Folder) -> bool {
    let look = || {
        let Some(temporary) = output.folder_if_any(TEMPORARY)? else { return Ok(false) };
        let mut all = private_folder::named(&temporary, None)?.into_iter();
        Ok::<_, io::Error>(all.any(|own| private_folder::may_have_replaced(&temporary, &own)))
    };
    look().unwrap_or(false)
}

/// The first entry of an output folder, by name, that is foreign.
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

/// Whether an entry may belong to a result, of this version or another, by its name and kind.
fn is_result(name: &[u8], kind: FileType) -> bool {
    match kind {
        FileType::Directory => name == BAD_RECORDS.as_bytes(),
        _ => name == SUCCESS.as_bytes() || name.starts_with(PART.as_bytes()),
    }
}

/// The names of entries that may belong to a result: the manifest, if there is one, and the others.
fn manifest_and_others(folder: &Folder) -> io::Result<(Option<OsString>, Vec<OsString>)> {
    let mut names = results(folder)?;
    let manifest = names.iter().position(|name| name == SUCCESS);
    let manifest = manifest.map(|index| names.swap_remove(index));
    debug_assert!(
        names.iter().all(|name| name != SUCCESS),
        "an incomplete output would have a manifest for a while"
    );
    Ok((manifest, names))
}

/// The names of entries that may belong to a result.
fn results(folder: &Folder) -> io::Result<Vec<OsString>> {
    let results = folder.entries(|name, kind| is_result(name.as_encoded_bytes(), kind))?;
    debug_assert!(
        results.iter().all(|(name, _)| name != TEMPORARY),
        "the destination would be moved into itself"
    );
    Ok(results.into_iter().map(|(name, _)| name).collect())
}
