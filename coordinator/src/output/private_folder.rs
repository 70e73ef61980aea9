//! The private folders of publications: the manifest while it is written, the output that is being
//! replaced, parts that were taken back, and the mark that shows how far the publication came.
//!
//! ```text
//!  _temporary/own-<unique>.<epoch>.<random>/
//!       _SUCCESS              the manifest, before it is visible
//!       replaced/             with --overwrite: what was visible before
//!       replaced.all-aside    the mark: all of it is aside
//!       parts/                the winners' parts, taken back or taken over
//! ```
//!
//! Jobs write to the staging folder, and a process that has a file open there keeps its access when
//! the file is renamed. So nothing that the coordinator relies on lies there. Each try of a
//! publication makes a new private folder, which no other user may enter. A private folder that
//! another user has made, or that others may write to, is not trusted: nothing is restored from it,
//! and no old output in it is removed. The owner and mode of a fresh folder are the reference for
//! that check: some file systems know neither users nor modes, and show all folders alike.
//!
//! A private folder is a fence, too. A coordinator that takes over moves the content of its
//! predecessor's folder to its own, and removes the folder. The predecessor then holds a descriptor
//! of a deleted folder, in which nothing can be created and from which nothing can be moved. So it
//! can no longer write its manifest, move anything aside or take anything back, even if it wakes up
//! in the middle of that.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;

use rustix::fs::{FileType, Mode, Stat};
use windrow_scheduler::journal::Epoch;

use super::SUCCESS;
use super::folder::{Folder, PRIVATE, if_any, is_same};
use super::replace::{ALL_ASIDE, REPLACED};
use crate::parallel_io::try_for_each;

const PREFIX: &str = "own-";
/// Folder for parts, out of reach of jobs.
pub(super) const PARTS: &str = "parts";
/// How often a folder is emptied while some process keeps adding to it.
const DRAINS_MAX: u32 = 1_000;
/// Write permission for anyone but the owner.
const OTHERS_WRITE: Mode = Mode::WGRP.union(Mode::WOTH);

/// A publication's private folder.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    pub(super) folder: Folder,
    pub(super) name: String,
}

/// The parsed name of a private folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PrivateFolderName {
    pub(super) unique: String,
    pub(super) epoch: Epoch,
    pub(super) name: String,
}

impl PrivateFolderName {
    pub(super) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let (rest, _random) = name.strip_prefix(PREFIX)?.rsplit_once('.')?;
        let (unique, epoch) = rest.rsplit_once('.')?;
        let epoch = Epoch(epoch.parse().ok()?);
        Some(Self { unique: unique.to_string(), epoch, name: name.to_string() })
    }
}

/// The private folders of all jobs, or of one, whoever made them.
pub(super) fn named(
    temporary: &Folder,
    unique: Option<&str>,
) -> io::Result<Vec<PrivateFolderName>> {
    let is_wanted = |named: &PrivateFolderName| unique.is_none_or(|unique| named.unique == unique);
    let entries = temporary
        .entries(|name, _| PrivateFolderName::parse(name).as_ref().is_some_and(is_wanted))?;
    Ok(entries.into_iter().filter_map(|(name, _)| PrivateFolderName::parse(&name)).collect())
}

/// Whether the folder may hold an old output: true also if it cannot be read.
pub(super) fn may_have_replaced(temporary: &Folder, named: &PrivateFolderName) -> bool {
    match has_replaced(temporary, named) {
        Ok(has) => has,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Whether the folder holds an old output.
pub(super) fn has_replaced(temporary: &Folder, named: &PrivateFolderName) -> io::Result<bool> {
    let Some(folder) = temporary.folder_if_any(&named.name)? else { return Ok(false) };
    match folder.folder_if_any(REPLACED)? {
        Some(replaced) => Ok(!replaced.is_empty()?),
        None => Ok(false),
    }
}

impl PrivateFolder {
    /// Makes a new private folder.
    pub(super) fn make(temporary: &Folder, unique: &str, epoch: Epoch) -> io::Result<Self> {
        let random = crate::journal::draw()? as u64;
        let name = format!("{PREFIX}{unique}.{}.{random:016x}", epoch.0);
        debug_assert!(
            PrivateFolderName::parse(name.as_ref())
                .is_some_and(|named| named.unique == unique && named.epoch == epoch),
            "a folder that is not recognised is never taken over, and the old output in it is lost"
        );
        let folder = temporary.new_folder(&name, PRIVATE)?;
        Ok(Self { folder, name })
    }

    /// The reference by which other folders are trusted. This folder must have been made just now.
    pub(super) fn yardstick(&self) -> io::Result<ExpectedOwner> {
        let stat = self.folder.own_stat()?;
        debug_assert!(
            FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            "files show other rights than folders"
        );
        let writers = Mode::from_raw_mode(stat.st_mode).intersection(OTHERS_WRITE);
        Ok(ExpectedOwner { uid: stat.st_uid, writers })
    }

    /// Whether no other coordinator has taken over: it would have removed the folder.
    pub(super) fn is_there(&self, temporary: &Folder) -> bool {
        let stats = (self.folder.own_stat(), temporary.stat(&self.name));
        matches!(stats, (Ok(own), Ok(there)) if is_same(&own, &there))
    }

    /// Removes the folder if it is empty.
    pub(super) fn remove(&self, temporary: &Folder) -> io::Result<()> {
        debug_assert!(
            PrivateFolderName::parse(self.name.as_ref()).is_some(),
            "only private folders are removed"
        );
        temporary.remove_folder(&self.name)
    }

    /// Takes over the folders of all earlier tries of this job, up to this epoch. Fails if a later
    /// coordinator has taken over already, or if a folder of this user cannot be trusted.
    /// Afterwards, no earlier try can change anything, so it cannot be stopped halfway.
    pub(super) fn take_over(
        &self,
        temporary: &Folder,
        unique: &str,
        epoch: Epoch,
    ) -> io::Result<()> {
        debug_assert!(
            PrivateFolderName::parse(self.name.as_ref())
                .is_some_and(|us| us.unique == unique && us.epoch == epoch),
            "the next coordinator must find the folder"
        );
        let (us, yardstick) = (self.folder.own_stat()?, self.yardstick()?);
        for named in named(temporary, Some(unique))? {
            debug_assert_eq!(named.unique, unique, "another job would lose its folder");
            match yardstick.look(temporary, &named)? {
                Found::Nothing => {}
                Found::Believed(former) if is_same(&former, &us) => {}
                Found::Believed(_) if named.epoch > epoch => {
                    return Err(io::ErrorKind::NotFound.into());
                }
                Found::Believed(_) => self.drain(temporary, &named.name)?,
                Found::Doubtful { is_ours, why } => {
                    if is_ours && keeps_anything(temporary, &named) {
                        return Err(doubtful(temporary, &named, &why));
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves everything out of an earlier folder, and removes it. A zombie may add to it until it
    /// is removed; that is moved, too.
    fn drain(&self, temporary: &Folder, name: &str) -> io::Result<()> {
        debug_assert_ne!(name, self.name, "the folder would be emptied into itself, and removed");
        debug_assert!(
            PrivateFolderName::parse(name.as_ref()).is_some(),
            "only private folders are taken over"
        );
        for _ in 0..DRAINS_MAX {
            let Some(former) = temporary.folder_if_any(name)? else { return Ok(()) };
            // The mark goes before the old output: without it, the old output may not be complete.
            if former.has(ALL_ASIDE)? {
                if !self.folder.has(ALL_ASIDE)? {
                    self.folder.new_file(ALL_ASIDE)?;
                }
                former.remove_file(ALL_ASIDE)?;
            }
            // The manifest will be written again.
            former.remove_file(SUCCESS)?;
            for part_of_it in [REPLACED, PARTS] {
                if let Some(inner) = former.folder_if_any(part_of_it)? {
                    move_all(&inner, &self.folder.made_folder(part_of_it, PRIVATE)?)?;
                    if_not_empty(former.remove_folder(part_of_it))?;
                }
            }
            if if_not_empty(temporary.remove_folder(name))? {
                return Ok(());
            }
            former.refuse_others()?;
        }
        Err(io::Error::other(format!(
            "another process keeps writing to {}",
            temporary.at(name).display()
        )))
    }
}

impl Folder {
    /// Fails if the folder holds anything that publications do not make.
    fn refuse_others(&self) -> io::Result<()> {
        debug_assert!(
            self.path().file_name().is_some_and(|name| PrivateFolderName::parse(name).is_some()),
            "the folder is not a private one"
        );
        let known = [SUCCESS, REPLACED, ALL_ASIDE, PARTS];
        let others = self.some_entries(1, |name, _| known.iter().all(|known| name != *known))?;
        match others.first() {
            Some((name, _)) => Err(io::Error::new(
                io::ErrorKind::DirectoryNotEmpty,
                format!(
                    "{} is not a file of a publication; move it elsewhere",
                    self.at(name).display()
                ),
            )),
            None => Ok(()),
        }
    }
}

/// Whether an earlier try of this job may have left anything of value there.
fn keeps_anything(temporary: &Folder, named: &PrivateFolderName) -> bool {
    let look = || {
        let Some(folder) = temporary.folder_if_any(&named.name)? else { return Ok(false) };
        let parts = folder.folder_if_any(PARTS)?;
        Ok(parts.is_some_and(|parts| !parts.is_empty().unwrap_or(false)))
    };
    may_have_replaced(temporary, named)
        || look().unwrap_or_else(|error: io::Error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// A transient fault: the folder's owner can mend it.
fn doubtful(temporary: &Folder, named: &PrivateFolderName, why: &str) -> io::Error {
    debug_assert!(!why.is_empty(), "the owner must learn what to mend");
    let text = format!(
        "{} has files of this job's publication, perhaps the only copy of the output that it replaces, \
         and is not trusted: {why}; check its content, and set its mode to 0700 again",
        temporary.at(&named.name).display()
    );
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// On several threads: there may be a million files.
fn move_all(from: &Folder, to: &Folder) -> io::Result<()> {
    debug_assert_ne!(from.path(), to.path(), "the predecessor would still reach the files");
    try_for_each(&from.entries(|_, _| true)?, |(name, _)| from.rename_new(name, to, name))
}

/// False if the folder was not empty and so not removed.
fn if_not_empty(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// The owner of a fresh private folder, and the write permissions of others, as this file system
/// shows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedOwner {
    uid: u32,
    writers: Mode,
}

/// The state of a private folder.
pub(super) enum Found {
    /// No folder.
    Nothing,
    /// This user made the folder, and nobody else can write to it.
    Believed(Stat),
    /// Others may have written to it.
    Doubtful {
        /// Whether this user made the folder.
        is_ours: bool,
        /// The reason, for messages.
        why: String,
    },
}

impl ExpectedOwner {
    pub(super) fn look(&self, temporary: &Folder, named: &PrivateFolderName) -> io::Result<Found> {
        use io::ErrorKind::{InvalidData, NotADirectory, NotFound, PermissionDenied};

        let stat = match temporary.folder(&named.name) {
            Ok(folder) => folder.own_stat()?,
            Err(error) if matches!(error.kind(), InvalidData | NotADirectory | NotFound) => {
                return Ok(Found::Nothing);
            }
            Err(error) if error.kind() == PermissionDenied => {
                let is_ours = if_any(temporary.stat(&named.name))?
                    .is_some_and(|stat| stat.st_uid == self.uid);
                let why = "this process may not look into it".into();
                return Ok(Found::Doubtful { is_ours, why });
            }
            Err(error) => return Err(error),
        };
        Ok(match self.doubt(stat.st_uid, Mode::from_raw_mode(stat.st_mode)) {
            None => Found::Believed(stat),
            Some(why) => Found::Doubtful { is_ours: stat.st_uid == self.uid, why },
        })
    }

    /// Why a folder of this owner and mode is not trusted. Read access does no harm.
    fn doubt(&self, uid: u32, mode: Mode) -> Option<String> {
        debug_assert!(
            OTHERS_WRITE.contains(self.writers),
            "the owner's own permissions do not matter"
        );
        let writers = mode.intersection(OTHERS_WRITE);
        if uid != self.uid {
            return Some(format!(
                "it belongs to user {uid}, and this process is user {}",
                self.uid
            ));
        }
        let bits = mode.as_raw_mode() & 0o7777;
        (!self.writers.contains(writers))
            .then(|| format!("others may write to it (mode {bits:04o})"))
    }
}

/// The trusted private folders of dead jobs, merged into one for each job. No other process has the
/// output now.
pub(super) fn of_dead_jobs(
    temporary: &Folder,
    yardstick: &ExpectedOwner,
) -> io::Result<Vec<PrivateFolder>> {
    let mut jobs = BTreeMap::<String, Epoch>::new();
    for named in named(temporary, None)? {
        if !matches!(yardstick.look(temporary, &named)?, Found::Believed(_)) {
            continue;
        }
        let epoch = jobs.entry(named.unique).or_insert(named.epoch);
        *epoch = (*epoch).max(named.epoch);
    }
    let mut found = Vec::with_capacity(jobs.len());
    for (unique, epoch) in jobs {
        let own = PrivateFolder::make(temporary, &unique, epoch)?;
        for former in named(temporary, Some(&unique))? {
            let look = yardstick.look(temporary, &former)?;
            if former.name != own.name && matches!(look, Found::Believed(_)) {
                own.drain(temporary, &former.name)?;
            }
        }
        found.push(own);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If a file system shows every folder with the same mode, as on Windows and in some FUSE file
    /// systems, our folders are trusted; if it has permissions, only folders that nobody opened to
    /// others.
    #[test]
    fn a_fresh_folder_is_the_reference_for_trust() {
        let is_believed = |ours: u32, theirs: u32| {
            let writers = Mode::from_raw_mode(ours).intersection(OTHERS_WRITE);
            ExpectedOwner { uid: 7, writers }.doubt(7, Mode::from_raw_mode(theirs)).is_none()
        };
        for mode in [0o700, 0o755, 0o770, 0o775, 0o777] {
            assert!(is_believed(mode, mode), "{mode:o}");
        }
        assert!(is_believed(0o700, 0o755), "read access does no harm");
        for (ours, theirs) in [(0o700, 0o770), (0o755, 0o757), (0o770, 0o777), (0o700, 0o1777)] {
            assert!(!is_believed(ours, theirs), "{ours:o} {theirs:o}");
        }
        let private = ExpectedOwner { uid: 7, writers: Mode::empty() };
        assert!(private.doubt(8, Mode::RWXU).unwrap().contains("it belongs to user 8"));
    }
}
