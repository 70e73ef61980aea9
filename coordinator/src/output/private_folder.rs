//! The folders in which a publication keeps what is its own: the manifest that is being written,
//! the output that is replaced, parts that were taken back, and the mark that says how far it came.
//!
//! ```text
//!  _temporary/own-<unique>.<epoch>.<random>/
//!       _SUCCESS              the manifest, before it is visible
//!       replaced/             with --overwrite: what was visible before
//!       replaced.all-aside    the mark: all of it is aside
//!       parts/                the winners' parts, taken back or taken over
//! ```
//!
//! Jobs write to the staging folder, and whoever may write to one of its files keeps that right
//! when it is renamed. So nothing that the coordinator relies on lies there. A folder of this kind
//! is new whenever a publication is tried, nobody else may enter it, and one that some other user
//! has made, or that others may write to, is not believed: nothing is restored from it, and nothing
//! in it is removed that was moved aside. What a new one of ours shows is the yardstick for that:
//! some file systems know neither users nor rights, and show all folders alike.
//!
//! It fences, too. Whoever takes over moves all that is in the former one's folder to its own, and
//! removes it. The former one holds a descriptor of a folder that is gone, in which nothing can be
//! made, and from which nothing can be moved: so it can neither write its manifest, nor move
//! anything aside, nor take anything back, even if it wakes up in the midst of that.

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
/// Where parts are that no job can reach any more.
pub(super) const PARTS: &str = "parts";
/// So often, a folder is emptied into which somebody goes on to put something.
const DRAINS_MAX: u32 = 1_000;
/// The right of anybody else to put something into a folder.
const OTHERS_WRITE: Mode = Mode::WGRP.union(Mode::WOTH);

/// A publication's own folder.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    pub(super) folder: Folder,
    pub(super) name: String,
}

/// What the name of such a folder says.
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

/// The folders of publications of all jobs, or of one, whoever made them.
pub(super) fn named(
    temporary: &Folder,
    unique: Option<&str>,
) -> io::Result<Vec<PrivateFolderName>> {
    let is_wanted = |named: &PrivateFolderName| unique.is_none_or(|unique| named.unique == unique);
    let entries = temporary
        .entries(|name, _| PrivateFolderName::parse(name).as_ref().is_some_and(is_wanted))?;
    Ok(entries.into_iter().filter_map(|(name, _)| PrivateFolderName::parse(&name)).collect())
}

/// Whether there may be something in it that was moved aside: where it cannot be looked into, too.
pub(super) fn may_have_replaced(temporary: &Folder, named: &PrivateFolderName) -> bool {
    match has_replaced(temporary, named) {
        Ok(has) => has,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Whether there is something in it that was moved aside.
pub(super) fn has_replaced(temporary: &Folder, named: &PrivateFolderName) -> io::Result<bool> {
    let Some(folder) = temporary.folder_if_any(&named.name)? else { return Ok(false) };
    match folder.folder_if_any(REPLACED)? {
        Some(replaced) => Ok(!replaced.is_empty()?),
        None => Ok(false),
    }
}

impl PrivateFolder {
    /// A new one.
    pub(super) fn make(temporary: &Folder, unique: &str, epoch: Epoch) -> io::Result<Self> {
        let random = crate::journal::draw()? as u64;
        let name = format!("{PREFIX}{unique}.{}.{random:016x}", epoch.0);
        debug_assert!(
            PrivateFolderName::parse(name.as_ref())
                .is_some_and(|named| named.unique == unique && named.epoch == epoch),
            "a folder that is not recognised is never taken over, and what is aside in it is lost"
        );
        let folder = temporary.new_folder(&name, PRIVATE)?;
        Ok(Self { folder, name })
    }

    /// By what others are believed. It must have been made just now.
    pub(super) fn yardstick(&self) -> io::Result<ExpectedOwner> {
        let stat = self.folder.own_stat()?;
        debug_assert!(
            FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            "files show other rights than folders"
        );
        let writers = Mode::from_raw_mode(stat.st_mode).intersection(OTHERS_WRITE);
        Ok(ExpectedOwner { uid: stat.st_uid, writers })
    }

    /// Whether nobody has taken over. Whoever does removes the folder.
    pub(super) fn is_there(&self, temporary: &Folder) -> bool {
        let stats = (self.folder.own_stat(), temporary.stat(&self.name));
        matches!(stats, (Ok(own), Ok(there)) if is_same(&own, &there))
    }

    /// Removes it, if nothing is in it.
    pub(super) fn remove(&self, temporary: &Folder) -> io::Result<()> {
        debug_assert!(
            PrivateFolderName::parse(self.name.as_ref()).is_some(),
            "what is no publication's is not ours to remove"
        );
        temporary.remove_folder(&self.name)
    }

    /// Takes over whatever former tries of this job have kept, up to this epoch. An error if a
    /// later coordinator has taken over already, or if what this user has kept cannot be believed.
    /// Afterwards, no former one can change anything: so nothing stops it in between.
    pub(super) fn take_over(
        &self,
        temporary: &Folder,
        unique: &str,
        epoch: Epoch,
    ) -> io::Result<()> {
        debug_assert!(
            PrivateFolderName::parse(self.name.as_ref())
                .is_some_and(|us| us.unique == unique && us.epoch == epoch),
            "what is taken over must be found by whoever takes over from here"
        );
        let (us, yardstick) = (self.folder.own_stat()?, self.yardstick()?);
        for named in named(temporary, Some(unique))? {
            debug_assert_eq!(named.unique, unique, "another job loses what it has kept");
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

    /// Takes all out of a former folder, and removes it. A zombie may still put something in until
    /// it is removed; that is taken, too.
    fn drain(&self, temporary: &Folder, name: &str) -> io::Result<()> {
        debug_assert_ne!(name, self.name, "it would be emptied into itself, and removed");
        debug_assert!(
            PrivateFolderName::parse(name.as_ref()).is_some(),
            "only what a publication has kept is taken over"
        );
        for _ in 0..DRAINS_MAX {
            let Some(former) = temporary.folder_if_any(name)? else { return Ok(()) };
            // Before what it is about: where it is missing, not all is aside.
            if former.has(ALL_ASIDE)? {
                if !self.folder.has(ALL_ASIDE)? {
                    self.folder.new_file(ALL_ASIDE)?;
                }
                former.remove_file(ALL_ASIDE)?;
            }
            // It is written anew.
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
            "somebody goes on to write to {}",
            temporary.at(name).display()
        )))
    }
}

impl Folder {
    /// Nothing but what publications make lies in one.
    fn refuse_others(&self) -> io::Result<()> {
        debug_assert!(
            self.path().file_name().is_some_and(|name| PrivateFolderName::parse(name).is_some()),
            "other folders hold other files"
        );
        let known = [SUCCESS, REPLACED, ALL_ASIDE, PARTS];
        let others = self.some_entries(1, |name, _| known.iter().all(|known| name != *known))?;
        match others.first() {
            Some((name, _)) => Err(io::Error::new(
                io::ErrorKind::DirectoryNotEmpty,
                format!(
                    "{} is no file of a publication; move it elsewhere",
                    self.at(name).display()
                ),
            )),
            None => Ok(()),
        }
    }
}

/// Whether a former try of this job may have left something there that is still wanted.
fn keeps_anything(temporary: &Folder, named: &PrivateFolderName) -> bool {
    let look = || {
        let Some(folder) = temporary.folder_if_any(&named.name)? else { return Ok(false) };
        let parts = folder.folder_if_any(PARTS)?;
        Ok(parts.is_some_and(|parts| !parts.is_empty().unwrap_or(false)))
    };
    may_have_replaced(temporary, named)
        || look().unwrap_or_else(|error: io::Error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// It may pass: whoever owns the folder looks at it.
fn doubtful(temporary: &Folder, named: &PrivateFolderName, why: &str) -> io::Error {
    debug_assert!(!why.is_empty(), "its owner is to know what to mend");
    let text = format!(
        "{} has what this job's publication has kept, perhaps the only copy of what it replaces, \
         and is not believed: {why}; look at what is in it, and give it its mode 0700 again",
        temporary.at(&named.name).display()
    );
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// Side by side, as there may be a million.
fn move_all(from: &Folder, to: &Folder) -> io::Result<()> {
    debug_assert_ne!(from.path(), to.path(), "the former one would still reach all of it");
    try_for_each(&from.entries(|_, _| true)?, |(name, _)| from.rename_new(name, to, name))
}

/// False where something is in the folder that should have been removed.
fn if_not_empty(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// Whose a folder is that was made just now for nobody else, and who may write to it all the same,
/// as this file system shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedOwner {
    uid: u32,
    writers: Mode,
}

/// What lies under the name of a publication's folder.
pub(super) enum Found {
    /// No folder.
    Nothing,
    /// This user made it, and nobody else could put anything into it.
    Believed(Stat),
    /// Somebody else may have put something into it.
    Doubtful {
        /// Whether this user made it.
        is_ours: bool,
        /// For messages.
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

    /// Why a folder of this owner and mode is not believed. Who may only look into it could not put
    /// anything there.
    fn doubt(&self, uid: u32, mode: Mode) -> Option<String> {
        debug_assert!(
            OTHERS_WRITE.contains(self.writers),
            "its owner may always write to it, and tells nothing"
        );
        let writers = mode.intersection(OTHERS_WRITE);
        if uid != self.uid {
            return Some(format!("it is user {uid}'s, and this process is user {}", self.uid));
        }
        let bits = mode.as_raw_mode() & 0o7777;
        (!self.writers.contains(writers))
            .then(|| format!("others may write to it (mode {bits:04o})"))
    }
}

/// All folders of dead jobs that may be believed, with what they have kept taken over into one for
/// each job. Nobody else has the output now.
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

    /// Where a file system shows every folder with one mode, as those of Windows and some in user
    /// space do, ours are believed; with rights of its own, only those that nobody opened.
    #[test]
    fn what_a_new_folder_of_ours_shows_is_the_yardstick() {
        let is_believed = |ours: u32, theirs: u32| {
            let writers = Mode::from_raw_mode(ours).intersection(OTHERS_WRITE);
            ExpectedOwner { uid: 7, writers }.doubt(7, Mode::from_raw_mode(theirs)).is_none()
        };
        for mode in [0o700, 0o755, 0o770, 0o775, 0o777] {
            assert!(is_believed(mode, mode), "{mode:o}");
        }
        assert!(is_believed(0o700, 0o755), "who may look could not put anything there");
        for (ours, theirs) in [(0o700, 0o770), (0o755, 0o757), (0o770, 0o777), (0o700, 0o1777)] {
            assert!(!is_believed(ours, theirs), "{ours:o} {theirs:o}");
        }
        let private = ExpectedOwner { uid: 7, writers: Mode::empty() };
        assert!(private.doubt(8, Mode::RWXU).unwrap().contains("it is user 8's"));
    }
}
