//! Makes a finished job's output visible: renames the winners' parts, and writes the manifest last.
//!
//! What a journal remembers must be there after a power failure too: for such a job all of it is
//! forced to disk, parts first and names after them.
//!
//! It can be done again, by this process or another one, wherever it stopped: what is in place
//! already counts. On an error, what this job has put there is taken back, and what was there
//! before is put back.
//!
//! Jobs write to the staging folder, so nothing that lies there is believed: see
//! [part](self::part) and [own](super::own).

mod part;

use std::io::{self, BufReader, BufWriter};
use std::sync::OnceLock;

use rustix::fs::Stat;
use windrow_jobs::FailureCause;
use windrow_scheduler::Unpublished;
use windrow_scheduler::journal::Epoch;

use super::commit_folder::{self, Staged};
use super::folder::{Folder, PRIVATE, USUAL, if_any, is_same};
use super::manifest::{self, ManifestJob};
use super::own::{Own, PARTS};
use super::replace::Replaced;
use super::stop::Stop;
use super::{BAD_RECORDS, Content, Place, SUCCESS, StagedPart, TEMPORARY};
use crate::failpoint::{Failpoint, Step};
use crate::side_by_side::try_for_each;
use part::{Placed, check, failed, failed_at, is_of};

pub(super) use part::crc64;

/// What there is to publish.
#[derive(Debug)]
pub(crate) struct Publication {
    /// Who publishes. A later one takes over from an earlier one.
    pub(crate) epoch: Epoch,
    /// What the manifest says of the job.
    pub(crate) job: ManifestJob,
    /// The winners, in the order of their tasks.
    pub(crate) parts: Vec<StagedPart>,
    /// The bad records that the winners of all stages have skipped.
    pub(crate) quarantines: Vec<StagedPart>,
    /// Whether what is visible there now is replaced.
    pub(crate) overwrite: bool,
    /// Whether it must outlast a power failure.
    pub(crate) durable: bool,
}

/// Publishes into the reserved folder, unless it is stopped. On an error, nothing stays visible
/// that was not visible before. Blocks on the file system. It dies at `failpoint`, in tests.
pub(crate) fn publish(
    place: &Place,
    publication: &Publication,
    failpoint: &Failpoint,
    stop: &Stop,
) -> Result<(), Unpublished> {
    debug_assert!(
        publication.quarantines.windows(2).all(|two| two[0].attempt.task < two[1].attempt.task),
        "a task's bad records are in one file"
    );
    debug_assert!(publication.epoch > Epoch(0), "nothing could be taken from an epoch below");
    let commit = Commit::begin(place, publication, failpoint, stop)
        .map_err(|error| failed(FailureCause::output_io(place.staging(), &error), &error))?;
    let done = match commit.is_done() {
        true => commit.sync_all(),
        false => commit.run(),
    };
    done.inspect_err(|_| {
        commit.undo();
        stop.has_failed();
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
    /// Where the parts are that attempts have written.
    staged: Staged,
    own: Own,
    /// Those that no job can reach any more, if there are any.
    parts: OnceLock<Folder>,
    bad_records: OnceLock<Folder>,
    placed: Placed,
    publication: &'a Publication,
    failpoint: &'a Failpoint,
    stop: &'a Stop,
}

impl<'a> Commit<'a> {
    /// Takes the publication over from whoever has begun it before. Its own folder is there before
    /// it takes the parts, so that whoever takes them from it finds that folder, too.
    fn begin(
        place: &Place,
        publication: &'a Publication,
        failpoint: &'a Failpoint,
        stop: &'a Stop,
    ) -> io::Result<Self> {
        let output = Folder::open(place.output())?;
        let temporary = output.folder(TEMPORARY)?;
        let (unique, epoch) = (place.unique(), publication.epoch);
        let own = Own::make(&temporary, unique, epoch)?;
        let taken = commit_folder::take(&temporary, place, epoch).and_then(|staged| {
            own.take_over(&temporary, unique, epoch)?;
            Ok(staged)
        });
        let staged = taken.inspect_err(|_| {
            // What was taken over already stays there, for the next one.
            let _ = own.remove(&temporary);
        })?;
        let placed = Placed::new(publication);
        let (parts, bad_records) = (OnceLock::new(), OnceLock::new());
        Ok(Self {
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
        })
    }

    /// Whether another process, or this one before, has come to the end of it.
    fn is_done(&self) -> bool {
        let manifest = self.output.file(SUCCESS);
        manifest
            .is_ok_and(|manifest| manifest::is_of(BufReader::new(manifest), &self.publication.job))
    }

    fn run(&self) -> Result<(), Unpublished> {
        let failpoint = self.failpoint;
        self.go_on()?;
        self.take_parts_over().map_err(|error| failed_at(self.own.folder.path(), &error))?;
        if self.publication.overwrite {
            self.replaced()
                .move_aside(failpoint)
                .map_err(|error| failed_at(self.output.path(), &error))?;
        }
        self.open_bad_records(true)?;
        self.each_file(|part| {
            self.go_on()?;
            match self.place_part(part) {
                // Its job has written another one of its name since, in vain.
                Err(_) if self.is_in_place(part, || !self.stop.is_stopped()) => {}
                placed => placed?,
            }
            failpoint.reach(Step::PartRenamed);
            Ok(())
        })?;
        self.sync_parts(|| self.go_on())?;
        failpoint.reach(Step::BeforeManifest);
        if !self.stop.may_write_manifest() {
            return Err(part::stopped());
        }
        self.write_manifest()?;
        failpoint.reach(Step::AfterManifest);
        Ok(())
    }

    fn go_on(&self) -> Result<(), Unpublished> {
        match self.stop.is_stopped() {
            true => Err(part::stopped()),
            false => Ok(()),
        }
    }

    /// Whoever has begun before may still hold a descriptor of the folder where parts are: they are
    /// moved to where it cannot get at them. Those that it had taken back are there already.
    fn take_parts_over(&self) -> io::Result<()> {
        if !self.staged.is_new {
            let parts = self.own.folder.made_folder(PARTS, PRIVATE)?;
            let Publication { parts: all, quarantines, .. } = self.publication;
            for part in all.iter().chain(quarantines) {
                let name = part.staged_name();
                match if_any(self.staged.folder.rename_new(&name, &parts, &name)) {
                    // A job has written another one since, in vain.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    moved => _ = moved?,
                }
            }
        }
        if let Some(parts) = self.own.folder.folder_if_any(PARTS)? {
            let _ = self.parts.set(parts);
        }
        Ok(())
    }

    fn open_bad_records(&self, make: bool) -> Result<(), Unpublished> {
        if self.publication.quarantines.is_empty() {
            return Ok(());
        }
        let opened = match make {
            true => self.output.made_folder(BAD_RECORDS, USUAL).map(Some),
            false => self.output.folder_if_any(BAD_RECORDS),
        };
        let opened = opened.map_err(|error| failed_at(&self.output.at(BAD_RECORDS), &error))?;
        if let Some(folder) = opened {
            let _ = self.bad_records.set(folder);
        }
        Ok(())
    }

    /// Does something with all that becomes visible but the manifest: side by side, since there may
    /// be a million files, and each call waits for a disk or a server.
    fn each_file(
        &self,
        each: impl Fn(&StagedPart) -> Result<(), Unpublished> + Sync,
    ) -> Result<(), Unpublished> {
        let Publication { parts, quarantines, .. } = self.publication;
        try_for_each(parts, &each)?;
        try_for_each(quarantines, &each)
    }

    /// Looks at a part before it is moved and after that: before, so that nothing else becomes
    /// visible, and after, since its job may have exchanged it in between. Where it is then, no job
    /// can put anything.
    fn place_part(&self, part: &StagedPart) -> Result<(), Unpublished> {
        let (name, visible) = (part.staged_name(), part.visible_name());
        let to = self.visible_folder(part)?;
        let (from, seen) =
            self.find(&name).map_err(|error| failed_at(&self.staged.folder.at(&name), &error))?;
        check(&seen, part, from, &name)?;
        self.failpoint.reach(Step::PartChecked);
        let failed = |error: io::Error| failed_at(&to.at(&visible), &error);
        from.rename_new(&name, to, &visible).map_err(failed)?;
        let there = to.stat(&visible).map_err(failed)?;
        let checked = match is_same(&seen, &there) {
            true => check(&there, part, to, &visible),
            false => Err(part::exchanged(&from.at(&name))),
        };
        if checked.is_err() {
            self.refuse(to, &visible);
        }
        checked?;
        self.placed.note(self.publication, part, &there);
        Ok(())
    }

    /// Where the part is now, and what lies there.
    fn find(&self, name: &str) -> io::Result<(&Folder, Stat)> {
        if let Some(parts) = self.parts.get()
            && let Some(seen) = if_any(parts.stat(name))?
        {
            return Ok((parts, seen));
        }
        Ok((&self.staged.folder, self.staged.folder.stat(name)?))
    }

    /// Takes back what is no part.
    fn refuse(&self, from: &Folder, visible: &str) {
        let parts = self.own.folder.made_folder(PARTS, PRIVATE);
        let refused = format!("refused.{visible}");
        let taken = parts.and_then(|parts| from.rename_new(visible, &parts, refused));
        if let Err(error) = taken {
            let path = from.at(visible);
            tracing::error!(path = %path.display(), %error, "what is no part of this job cannot be taken back, and stays");
        }
    }

    /// Whether this very part is visible already. Reads one that this try has not moved, which only
    /// a publication that is done again has to, unless it is not to `go_on`.
    fn is_in_place(&self, part: &StagedPart, go_on: impl Fn() -> bool) -> bool {
        let (Ok(folder), name) = (self.visible_folder(part), part.visible_name()) else {
            return false;
        };
        let Ok(seen) = folder.stat(&name) else { return false };
        if check(&seen, part, folder, &name).is_err() {
            return false;
        }
        self.placed.has(self.publication, part, &seen)
            || folder.file(&name).is_ok_and(|file| is_of(file, part, go_on))
    }

    fn visible_folder(&self, part: &StagedPart) -> Result<&Folder, Unpublished> {
        match part.content {
            Content::Output => Ok(&self.output),
            Content::BadRecords => self.bad_records.get().ok_or_else(|| {
                failed_at(&self.output.at(BAD_RECORDS), &io::ErrorKind::NotFound.into())
            }),
        }
    }

    /// Forces to disk what is visible by now, and that it is, if it must outlast a power failure.
    /// What workers of other machines have written was with the file system's server when they
    /// closed it.
    fn sync_parts(
        &self,
        go_on: impl Fn() -> Result<(), Unpublished> + Sync,
    ) -> Result<(), Unpublished> {
        if !self.publication.durable {
            return Ok(());
        }
        self.each_file(|part| {
            go_on()?;
            let (folder, name) = (self.visible_folder(part)?, part.visible_name());
            let synced = folder.file(&name).and_then(|file| file.sync_all());
            synced.map_err(|error| failed_at(&folder.at(&name), &error))
        })?;
        let folders = self.bad_records.get().into_iter().chain([&self.output]);
        for folder in folders {
            folder.sync().map_err(|error| failed_at(folder.path(), &error))?;
        }
        Ok(())
    }

    /// Forces all of a publication to disk whose manifest is there: whoever wrote it may have died
    /// before it was on the disk. It cannot be stopped any more: what it replaced may be gone.
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

    /// Written aside and renamed, so that a manifest is never seen in part.
    fn write_manifest(&self) -> Result<(), Unpublished> {
        let Publication { job, parts, quarantines, durable, .. } = self.publication;
        let own = &self.own.folder;
        let write = || -> io::Result<()> {
            own.remove_file(SUCCESS)?;
            let file = own.new_file(SUCCESS)?;
            manifest::write(job, parts, quarantines, BufWriter::new(&file))?;
            if *durable {
                file.sync_all()?;
            }
            own.rename_new(SUCCESS, &self.output, SUCCESS)?;
            if *durable { self.output.sync() } else { Ok(()) }
        };
        write().map_err(|error| failed_at(&self.output.at(SUCCESS), &error))
    }

    /// The manifest goes first: what it names is whole as long as it is there. Parts go to where no
    /// job can reach them, so that all can be done once more.
    fn undo(&self) {
        if !self.own.is_there(&self.temporary) {
            // Somebody else has taken over, and all of this is theirs.
            return;
        }
        if let Err(error) = self.take_back() {
            let path = self.output.path().display();
            tracing::error!(%path, %error, "the output of a failed job cannot be taken back, and stays");
            return;
        }
        if let Err(error) = self.replaced().restore() {
            let folder = self.own.folder.path().display();
            tracing::error!(%folder, %error, "the output that was to be replaced cannot be put back, and stays there");
        }
    }

    fn take_back(&self) -> io::Result<()> {
        let own = &self.own.folder;
        if self.is_done() {
            own.remove_file(SUCCESS)?;
            self.output.rename_new(SUCCESS, own, SUCCESS)?;
        }
        let parts = own.made_folder(PARTS, PRIVATE)?;
        let _ = self.open_bad_records(false);
        // One that cannot be taken back does not keep the others.
        let _ = self.each_file(|part| {
            let (staged, visible) = (part.staged_name(), part.visible_name());
            if !self.is_in_place(part, || true) {
                return Ok(());
            }
            let from = self.visible_folder(part)?;
            // Another file of its name was left by its job, after the part had become visible.
            let taken = parts.remove_tree(&staged);
            let taken = taken.and_then(|()| from.rename_new(&visible, &parts, &staged));
            if let Err(error) = taken {
                let path = from.at(visible);
                tracing::warn!(path = %path.display(), %error, "cannot take back a part of a failed job");
            }
            Ok(())
        });
        if !self.publication.quarantines.is_empty() {
            // It stays if anything is in it that is not this job's.
            let _ = self.output.remove_folder(BAD_RECORDS);
        }
        Ok(())
    }

    fn replaced(&self) -> Replaced<'_> {
        Replaced::new(&self.output, &self.own.folder)
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
