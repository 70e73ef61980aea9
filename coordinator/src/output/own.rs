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
//! has made, or that others may enter, is not believed: nothing is restored from it.
//!
//! It fences, too. Whoever takes over moves all that is in the former one's folder to its own, and
//! removes it. The former one holds a descriptor of a folder that is gone, in which nothing can be
//! made, and from which nothing can be moved: so it can neither write its manifest, nor move
//! anything aside, nor take anything back, even if it wakes up in the midst of that.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;

use rustix::fs::{Mode, Stat};
use windrow_scheduler::journal::Epoch;

use super::SUCCESS;
use super::folder::{Folder, PRIVATE, is_same};
use super::replace::{ALL_ASIDE, REPLACED};

const PREFIX: &str = "own-";
/// Where parts are that no job can reach any more.
pub(super) const PARTS: &str = "parts";
/// So often, a folder is emptied into which somebody goes on to put something.
const DRAINS_MAX: u32 = 1_000;
/// Rights of anybody else.
const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

/// A publication's own folder.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) folder: Folder,
    pub(super) name: String,
}

/// What the name of such a folder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) unique: String,
    pub(super) epoch: Epoch,
    pub(super) name: String,
}

impl Named {
    pub(super) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let (rest, _random) = name.strip_prefix(PREFIX)?.rsplit_once('.')?;
        let (unique, epoch) = rest.rsplit_once('.')?;
        let epoch = Epoch(epoch.parse().ok()?);
        Some(Self { unique: unique.to_string(), epoch, name: name.to_string() })
    }
}

/// The folders of publications of all jobs, or of one, whoever made them.
pub(super) fn named(temporary: &Folder, unique: Option<&str>) -> io::Result<Vec<Named>> {
    let is_wanted = |named: &Named| unique.is_none_or(|unique| named.unique == unique);
    let entries =
        temporary.entries(|name, _| Named::parse(name).as_ref().is_some_and(is_wanted))?;
    Ok(entries.into_iter().filter_map(|(name, _)| Named::parse(&name)).collect())
}

/// Whether there is something in it that was moved aside.
pub(super) fn has_replaced(temporary: &Folder, named: &Named) -> io::Result<bool> {
    let Some(folder) = temporary.folder_if_any(&named.name)? else { return Ok(false) };
    match folder.folder_if_any(REPLACED)? {
        Some(replaced) => Ok(!replaced.is_empty()?),
        None => Ok(false),
    }
}

impl Own {
    /// A new one.
    pub(super) fn make(temporary: &Folder, unique: &str, epoch: Epoch) -> io::Result<Self> {
        let random = crate::journal::draw()? as u64;
        let name = format!("{PREFIX}{unique}.{}.{random:016x}", epoch.0);
        debug_assert!(
            Named::parse(name.as_ref())
                .is_some_and(|named| named.unique == unique && named.epoch == epoch),
            "a folder that is not recognised is never taken over, and what is aside in it is lost"
        );
        let folder = temporary.new_folder(&name, PRIVATE)?;
        Ok(Self { folder, name })
    }

    /// Whether nobody has taken over. Whoever does removes the folder.
    pub(super) fn is_there(&self, temporary: &Folder) -> bool {
        let stats = (self.folder.own_stat(), temporary.stat(&self.name));
        matches!(stats, (Ok(own), Ok(there)) if is_same(&own, &there))
    }

    /// Removes it, if nothing is in it.
    pub(super) fn remove(&self, temporary: &Folder) -> io::Result<()> {
        temporary.remove_folder(&self.name)
    }

    /// Takes over whatever former tries of this job have kept, up to this epoch. An error if a
    /// later coordinator has taken over already. Afterwards, no former one can change anything.
    pub(super) fn take_over(
        &self,
        temporary: &Folder,
        unique: &str,
        epoch: Epoch,
    ) -> io::Result<()> {
        let us = self.folder.own_stat()?;
        for named in named(temporary, Some(unique))? {
            match trusted(temporary, &named, &us)? {
                None => {}
                Some(former) if is_same(&former, &us) => {}
                Some(_) if named.epoch > epoch => return Err(io::ErrorKind::NotFound.into()),
                Some(_) => self.drain(temporary, &named.name)?,
            }
        }
        Ok(())
    }

    /// Takes all out of a former folder, and removes it. A zombie may still put something in until
    /// it is removed; that is taken, too.
    fn drain(&self, temporary: &Folder, name: &str) -> io::Result<()> {
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
        let known = [SUCCESS, REPLACED, ALL_ASIDE, PARTS];
        let others = self.some_entries(1, |name, _| known.iter().all(|known| name != *known))?;
        match others.first() {
            Some((name, _)) => Err(io::Error::new(
                io::ErrorKind::DirectoryNotEmpty,
                format!("{} is no file of a publication; remove it", self.at(name).display()),
            )),
            None => Ok(()),
        }
    }
}

fn is_anothers(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), InvalidData | NotADirectory | NotFound | PermissionDenied)
}

fn move_all(from: &Folder, to: &Folder) -> io::Result<()> {
    for (name, _) in from.entries(|_, _| true)? {
        from.rename_new(&name, to, &name)?;
    }
    Ok(())
}

/// False where something is in the folder that should have been removed.
fn if_not_empty(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// What lies there, if it was made by whom `us` was made by, as this file system knows its users,
/// and nobody else could put anything into it.
fn trusted(temporary: &Folder, named: &Named, us: &Stat) -> io::Result<Option<Stat>> {
    let folder = match temporary.folder(&named.name) {
        Ok(folder) => folder.own_stat()?,
        // Not made by a publication, or by that of another user.
        Err(error) if is_anothers(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_open = Mode::from_raw_mode(folder.st_mode).intersects(OTHERS);
    Ok(Some(folder).filter(|folder| folder.st_uid == us.st_uid && !is_open))
}

/// All folders of dead jobs that may be believed, made by whom `us` was made by, with what they
/// have kept taken over into one for each job. Nobody else has the output now.
pub(super) fn of_dead_jobs(temporary: &Folder, us: &Stat) -> io::Result<Vec<Own>> {
    let mut jobs = BTreeMap::<String, Epoch>::new();
    for named in named(temporary, None)? {
        if trusted(temporary, &named, us)?.is_none() {
            continue;
        }
        let epoch = jobs.entry(named.unique).or_insert(named.epoch);
        *epoch = (*epoch).max(named.epoch);
    }
    let mut found = Vec::with_capacity(jobs.len());
    for (unique, epoch) in jobs {
        let own = Own::make(temporary, &unique, epoch)?;
        own.take_over(temporary, &unique, epoch)?;
        found.push(own);
    }
    Ok(found)
}
