//! Makes a finished job's output visible: renames the winners' parts, and writes the manifest last.
//!
//! A job in a journal must keep its output after a power failure: all of it is forced to disk, the
//! parts first and their names afterwards.
//!
//! Publication is idempotent: this process or another one can repeat it from wherever it stopped,
//! and entries in place already count. On an error, everything that this job has put there is taken
//! back, and the old output is put back.
//!
//! Jobs write to the staging folder, so nothing there is trusted: see [`part`] and
//! [`private_folder`](super::private_folder).

mod part;
mod take;
mod undo;

use std::io::{self, BufReader, BufWriter};
use std::path::Path;
use std::sync::OnceLock;

use windrow_jobs::{FailureCause, PartKind};
use windrow_scheduler::Unpublished;
use windrow_scheduler::journal::Epoch;

use super::commit_folder::{self, Staged};
use super::folder::{Folder, USUAL, is_same};
use super::manifest::{self, ManifestJob};
use super::private_folder::PrivateFolder;
use super::replace::Replaced;
use super::stop::Stop;
use super::{BAD_RECORDS, OutputPaths, SUCCESS, StagedPart, TEMPORARY};
use crate::failpoint::{Failpoint, FailpointId};
use crate::parallel_io::try_for_each;
use part::{Placed, check, failed, failed_at, has_one_link, is_of};

pub(super) use part::{SPECIAL, crc64};

/// What to publish.
#[derive(Debug)]
pub(crate) struct Publication {
    /// The coordinator's epoch. A later epoch takes over from an earlier one.
    pub(crate) epoch: Epoch,
    /// The manifest's content.
    pub(crate) job: ManifestJob,
    /// The winners, in the order of their tasks.
    pub(crate) parts: Vec<StagedPart>,
    /// The bad records that the winners of all stages have skipped.
    pub(crate) bad_records: Vec<StagedPart>,
    /// Whether the old output is replaced.
    pub(crate) overwrite: bool,
    /// Whether the output must survive a power failure.
    pub(crate) durable: bool,
}

/// Publishes into the reserved folder, unless stopped. On an error, the visible content is as
/// before. Blocks on the file system. Dies at `failpoint`, in tests.
pub(crate) fn publish(
    paths: &OutputPaths,
    publication: &Publication,
    failpoint: &Failpoint,
    stop: &Stop,
) -> Result<(), Unpublished> {
    debug_assert!(
        publication.bad_records.windows(2).all(|two| two[0].attempt.task < two[1].attempt.task),
        "a task's bad records are in one file"
    );
    debug_assert!(
        publication.parts.windows(2).all(|two| two[0].attempt.task < two[1].attempt.task),
        "a part is looked up by its task"
    );
    debug_assert!(
        publication.parts.iter().all(|part| part.kind == PartKind::Output),
        "bad records do not lie among the parts"
    );
    debug_assert!(
        publication.bad_records.iter().all(|part| part.kind == PartKind::BadRecords),
        "a part of the output would be hidden from its readers"
    );
    debug_assert!(publication.epoch > Epoch(0), "no earlier epoch could be taken over");
    let commit = Commit::begin(paths, publication, failpoint, stop)
        .map_err(|error| failed(FailureCause::output_io(paths.staging(), &error), &error))?;
    let done = match commit.is_done() {
        true => commit.sync_all(),
        false => commit.run(),
    };
    done.map_err(|failure| {
        let aside = commit.undo();
        stop.has_failed();
        part::with_aside(failure, aside)
    })?;
    if let Err(error) = commit.replaced().remove() {
        let folder = commit.own.folder.path().display();
        tracing::warn!(%folder, %error, "cannot remove the output that was replaced");
    }
    Ok(())
}

/// One try of a publication.
struct Commit<'a> {
    output: Folder,
    temporary: Folder,
    /// The folder with the parts of attempts.
    staged: Staged,
    own: PrivateFolder,
    /// The folder for parts out of reach of jobs, once there are any.
    parts: OnceLock<Folder>,
    bad_records: OnceLock<Folder>,
    placed: Placed,
    publication: &'a Publication,
    failpoint: &'a Failpoint,
    stop: &'a Stop,
}

impl<'a> Commit<'a> {
    /// Takes the publication over from an earlier try. Its private folder exists before it takes
    /// the parts, so that the next coordinator finds that folder, too.
    fn begin(
        paths: &OutputPaths,
        publication: &'a Publication,
        failpoint: &'a Failpoint,
        stop: &'a Stop,
    ) -> io::Result<Self> {
        let output = Folder::open(paths.output())?;
        let temporary = output.folder(TEMPORARY)?;
        let (unique, epoch) = (paths.unique(), publication.epoch);
        let own = PrivateFolder::make(&temporary, unique, epoch)?;
        let taken = commit_folder::take(&temporary, paths, epoch).and_then(|staged| {
            own.take_over(&temporary, unique, epoch)?;
            Ok(staged)
        });
        let staged = taken.inspect_err(|_| {
            // Files that were taken over stay there, for the next try.
            let _ = own.remove(&temporary);
        })?;
        debug_assert_ne!(
            staged.folder.path(),
            own.folder.path(),
            "jobs may write to the staging folder, but not to the private one"
        );
        Ok(Self::new([output, temporary], (staged, own), (publication, failpoint, stop)))
    }

    fn new(
        [output, temporary]: [Folder; 2],
        (staged, own): (Staged, PrivateFolder),
        (publication, failpoint, stop): (&'a Publication, &'a Failpoint, &'a Stop),
    ) -> Self {
        let placed = Placed::new(publication);
        let (parts, bad_records) = (OnceLock::new(), OnceLock::new());
        Self {
            output,
            temporary,
            staged,
            own,
            parts,
            bad_records,
            placed,
            publication,
            failpoint,
            stop,
        }
    }

    /// Whether the publication was completed before, by this process or another one.
    fn is_done(&self) -> bool {
        let manifest = self.output.file(SUCCESS);
        manifest
            .is_ok_and(|manifest| manifest::is_of(BufReader::new(manifest), &self.publication.job))
    }

    fn run(&self) -> Result<(), Unpublished> {
        let failpoint = self.failpoint;
        self.go_on()?;
        self.take_parts_over().map_err(|error| self.failed_at(self.own.folder.path(), &error))?;
        if self.publication.overwrite {
            self.replaced()
                .move_aside(failpoint, self.stop)
                .map_err(|error| self.failed_at(self.output.path(), &error))?;
        }
        self.open_bad_records(true)?;
        self.each_file(|part| {
            self.go_on()?;
            match self.place_part(part) {
                // The job has written another file of this name since, in vain.
                Err(_) if self.is_in_place(part) => {}
                Err(failure) => return self.go_on().and(Err(failure)),
                Ok(()) => {}
            }
            failpoint.reach(FailpointId::PartRenamed);
            Ok(())
        })?;
        self.sync_parts(|| self.go_on())?;
        failpoint.reach(FailpointId::BeforeManifest);
        if !self.stop.may_write_manifest() {
            return Err(part::stopped());
        }
        self.write_manifest()?;
        failpoint.reach(FailpointId::AfterManifest);
        Ok(())
    }

    /// A stopped publication has not failed.
    fn failed_at(&self, path: &Path, error: &io::Error) -> Unpublished {
        self.go_on().err().unwrap_or_else(|| failed_at(path, error))
    }

    fn go_on(&self) -> Result<(), Unpublished> {
        match self.stop.is_stopped() {
            true => Err(part::stopped()),
            false => Ok(()),
        }
    }

    fn open_bad_records(&self, make: bool) -> Result<(), Unpublished> {
        if self.publication.bad_records.is_empty() {
            return Ok(());
        }
        let opened = match make {
            true => self.output.made_folder(BAD_RECORDS, USUAL).map(Some),
            false => self.output.folder_if_any(BAD_RECORDS),
        };
        let opened = opened.map_err(|error| failed_at(&self.output.at(BAD_RECORDS), &error))?;
        debug_assert!(!make || opened.is_some(), "the folder was just made");
        if let Some(folder) = opened {
            let _ = self.bad_records.set(folder);
        }
        Ok(())
    }

    /// Calls `each` for each file but the manifest, on several threads: there may be a million
    /// files, and each call waits for a disk or a server.
    fn each_file(
        &self,
        each: impl Fn(&StagedPart) -> Result<(), Unpublished> + Sync,
    ) -> Result<(), Unpublished> {
        let Publication { parts, bad_records, .. } = self.publication;
        try_for_each(parts, &each)?;
        try_for_each(bad_records, &each)
    }

    /// Checks a part before and after its move: before, so that nothing else becomes visible;
    /// after, because its job may have exchanged it in between. At its destination, no job can
    /// reach it.
    fn place_part(&self, part: &StagedPart) -> Result<(), Unpublished> {
        let (name, visible) = (part.staged_name(), self.visible_name(part));
        let to = self.visible_folder(part)?;
        let (from, seen) = self.find(part, &name)?;
        debug_assert!(
            check(&seen, part, from, &name).is_ok(),
            "a foreign file would become visible for a moment"
        );
        debug_assert_ne!(from.path(), to.path(), "the visible file was not checked");
        self.failpoint.reach(FailpointId::PartChecked);
        let failed = |error: io::Error| failed_at(&to.at(&visible), &error);
        from.rename_new(&name, to, &visible).map_err(failed)?;
        let there = to.stat(&visible).map_err(failed)?;
        // Some FUSE file systems give a file another inode number when it is renamed.
        let is_known = is_same(&seen, &there)
            || check(&there, part, to, &visible).is_ok() && self.reads(part, to, &visible);
        let checked = match is_known {
            true => check(&there, part, to, &visible),
            false => Err(part::exchanged(&from.at(&name))),
        };
        if !is_known && let Err(stopped) = self.go_on() {
            self.refuse(to, &visible, &take::unread(&name));
            return Err(stopped);
        }
        if checked.is_err() {
            self.refuse(to, &visible, &format!("refused.{visible}"));
        } else if !has_one_link(&there) {
            self.refuse(to, &visible, &name);
            return Err(part::linked(&to.at(&visible)));
        }
        checked?;
        self.placed.note(self.publication, part, &there);
        Ok(())
    }

    /// Whether this very part is visible already. Reads a part that this try has not moved, as only
    /// a repeated publication must, until it is stopped.
    fn is_in_place(&self, part: &StagedPart) -> bool {
        let (Ok(folder), name) = (self.visible_folder(part), self.visible_name(part)) else {
            return false;
        };
        let Ok(seen) = folder.stat(&name) else { return false };
        if check(&seen, part, folder, &name).is_err() {
            return false;
        }
        self.placed.has(self.publication, part, &seen) || self.reads(part, folder, &name)
    }

    /// Whether the file has the bytes that its task has written. Reads it, until the publication is
    /// stopped: it may have any size.
    fn reads(&self, part: &StagedPart, folder: &Folder, name: &str) -> bool {
        let file = folder.file(name);
        file.is_ok_and(|file| is_of(file, part, || !self.stop.is_stopped()))
    }

    fn visible_name(&self, part: &StagedPart) -> String {
        part.visible_name(&self.publication.job.inputs)
    }

    fn visible_folder(&self, part: &StagedPart) -> Result<&Folder, Unpublished> {
        match part.kind {
            PartKind::Output => Ok(&self.output),
            PartKind::BadRecords => self.bad_records.get().ok_or_else(|| {
                failed_at(&self.output.at(BAD_RECORDS), &io::ErrorKind::NotFound.into())
            }),
        }
    }

    /// Forces the visible files and their names to disk, if the output must survive a power
    /// failure. Files of workers on other machines were with the file server when they were closed.
    fn sync_parts(
        &self,
        go_on: impl Fn() -> Result<(), Unpublished> + Sync,
    ) -> Result<(), Unpublished> {
        if !self.publication.durable {
            return Ok(());
        }
        self.each_file(|part| {
            go_on()?;
            let (folder, name) = (self.visible_folder(part)?, self.visible_name(part));
            let synced = folder.file(&name).and_then(|file| file.sync_all());
            synced.map_err(|error| failed_at(&folder.at(&name), &error))
        })?;
        let folders = self.bad_records.get().into_iter().chain([&self.output]);
        for folder in folders {
            folder.sync().map_err(|error| failed_at(folder.path(), &error))?;
        }
        Ok(())
    }

    /// Forces a publication with a manifest to disk: its writer may have died before it did so. It
    /// cannot be stopped any more, since the old output may be gone.
    fn sync_all(&self) -> Result<(), Unpublished> {
        self.stop.may_write_manifest();
        self.open_bad_records(false)?;
        self.sync_parts(|| Ok(()))?;
        if !self.publication.durable {
            return Ok(());
        }
        let synced = self.output.file(SUCCESS).and_then(|manifest| manifest.sync_all());
        let synced = synced.and_then(|()| self.output.sync());
        synced.map_err(|error| failed_at(&self.output.at(SUCCESS), &error))
    }

    /// Written to a private file and renamed, so that the manifest appears atomically.
    fn write_manifest(&self) -> Result<(), Unpublished> {
        let Publication { job, parts, bad_records, durable, .. } = self.publication;
        debug_assert!(
            !self.stop.is_stopped(),
            "a stopped publication was already reported as invisible"
        );
        let own = &self.own.folder;
        let write = || -> io::Result<()> {
            own.remove_file(SUCCESS)?;
            let file = own.new_file(SUCCESS)?;
            manifest::write(job, parts, bad_records, BufWriter::new(&file))?;
            if *durable {
                file.sync_all()?;
            }
            own.rename_new(SUCCESS, &self.output, SUCCESS)?;
            if *durable { self.output.sync() } else { Ok(()) }
        };
        write().map_err(|error| failed_at(&self.output.at(SUCCESS), &error))
    }

    fn replaced(&self) -> Replaced<'_> {
        Replaced::new(&self.output, &self.own.folder)
    }
}

#[cfg(test)]
mod tests;
