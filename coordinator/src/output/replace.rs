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
//! every moment it is plain, to whoever comes after a crash, what belongs where.

use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};

use super::place::gone;
use super::rename::rename_new;
use super::{BAD_RECORDS, PART, SUCCESS, TEMPORARY, commit_folder};
use crate::failpoint::{Failpoint, Step};

const REPLACED: &str = "replaced";
const ALL_ASIDE: &str = "replaced.all-aside";
/// Where parts of a publication go that is undone without knowing which attempts wrote them.
const UNDONE: &str = "undone";

/// What was visible before, in the folder of a publication.
pub(super) struct Replaced<'a> {
    output: &'a Path,
    commit: &'a Path,
    aside: PathBuf,
    mark: PathBuf,
}

impl<'a> Replaced<'a> {
    pub(super) fn new(output: &'a Path, commit: &'a Path) -> Self {
        debug_assert!(
            commit.starts_with(output.join(TEMPORARY)),
            "what is moved aside must not be moved again, nor seen"
        );
        Self { output, commit, aside: commit.join(REPLACED), mark: commit.join(ALL_ASIDE) }
    }

    /// Whether nothing is aside.
    pub(super) fn is_empty(&self) -> bool {
        !self.aside.exists()
    }

    /// Moves the visible result aside, and nothing else: what somebody has put beside it stays. The
    /// manifest goes first: what is left is not whole any more.
    pub(super) fn move_aside(&self, failpoint: &Failpoint) -> io::Result<()> {
        if self.mark.exists() {
            return Ok(());
        }
        // Not its parents: where they are gone, somebody else has taken over.
        match fs::create_dir(&self.aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
        let mut names = entries(self.output, is_result)?;
        names.sort_by_key(|name| name != SUCCESS);
        for name in names {
            rename_new(&self.output.join(&name), &self.aside.join(&name))?;
            failpoint.reach(Step::MovedAside);
        }
        File::create(&self.mark)?;
        failpoint.reach(Step::AllAside);
        Ok(())
    }

    /// Moves it back, after all that is new was taken back. The manifest comes last.
    pub(super) fn restore(&self) -> io::Result<()> {
        gone(fs::remove_file(&self.mark))?;
        if self.is_empty() {
            return Ok(());
        }
        let mut names = visible(&self.aside)?;
        names.sort_by_key(|name| name == SUCCESS);
        for name in names {
            rename_new(&self.aside.join(&name), &self.output.join(&name))?;
        }
        fs::remove_dir(&self.aside)
    }

    /// The new output is whole: the old one is not needed any more.
    pub(super) fn remove(&self) -> io::Result<()> {
        gone(fs::remove_dir_all(&self.aside))?;
        gone(fs::remove_file(&self.mark))
    }

    /// Ends what a process that is gone has left half-done: forwards if the new output is whole,
    /// else backwards.
    fn settle(&self) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        if self.mark.exists() {
            if self.output.join(SUCCESS).exists() {
                return self.remove();
            }
            let undone = self.commit.join(UNDONE);
            fs::create_dir_all(&undone)?;
            for name in visible(self.output)? {
                if name.to_string_lossy().starts_with(PART) || name == BAD_RECORDS {
                    fs::rename(self.output.join(&name), undone.join(&name))?;
                }
            }
        }
        self.restore()
    }
}

/// Ends every publication that was left half-done in `output`, which nobody else has now.
pub(super) fn settle_all(output: &Path) -> io::Result<()> {
    for commit in commit_folder::all(&output.join(TEMPORARY))? {
        Replaced::new(output, &commit).settle()?;
    }
    Ok(())
}

/// Whether a publication was left half-done in `output`: then it is not plain yet what is in there.
pub(super) fn is_unsettled(output: &Path) -> bool {
    commit_folder::all(&output.join(TEMPORARY))
        .is_ok_and(|all| all.iter().any(|commit| !Replaced::new(output, commit).is_empty()))
}

/// The first entry of an output folder, by name, that no job writes there.
pub(super) fn foreign_in(output: &Path) -> io::Result<Option<PathBuf>> {
    let foreign = entries(output, |entry| Ok(!is_result(entry)?))?;
    if let Some(name) = foreign.into_iter().min() {
        return Ok(Some(output.join(name)));
    }
    let bad_records = output.join(BAD_RECORDS);
    if !bad_records.is_dir() {
        return Ok(None);
    }
    let is_foreign = |entry: &DirEntry| {
        let is_list = Path::new(&entry.file_name()).extension().is_some_and(|end| end == "jsonl");
        Ok(!is_list || entry.file_type()?.is_dir())
    };
    let foreign = entries(&bad_records, is_foreign)?;
    Ok(foreign.into_iter().min().map(|name| bad_records.join(name)))
}

/// Whether an entry can be of a result, this version's or another one's, by its name and kind.
fn is_result(entry: &DirEntry) -> io::Result<bool> {
    let (name, is_folder) = (entry.file_name(), entry.file_type()?.is_dir());
    Ok(match is_folder {
        true => name == BAD_RECORDS,
        false => name == SUCCESS || name.as_encoded_bytes().starts_with(PART.as_bytes()),
    })
}

fn visible(folder: &Path) -> io::Result<Vec<OsString>> {
    entries(folder, |_| Ok(true))
}

/// The names of those entries that are `wanted`.
fn entries(
    folder: &Path,
    wanted: impl Fn(&DirEntry) -> io::Result<bool>,
) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != TEMPORARY && wanted(&entry)? {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}
