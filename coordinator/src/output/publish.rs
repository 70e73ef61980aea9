//! Makes a finished job's output visible: renames the winners' parts, and writes the manifest last.
//!
//! What a journal remembers must be there after a power failure too: for such a job all of it is
//! forced to disk, parts first and names after them.
//!
//! It can be done again, by this process or another one, wherever it stopped: what is in place
//! already counts. On an error, what this job has put there is taken back, and what was there
//! before is put back.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm::Crc64Nvme, Digest};
use windrow_jobs::FailureCause;
use windrow_scheduler::Unpublished;
use windrow_scheduler::journal::Epoch;

use super::manifest::{self, ManifestJob};
use super::rename::rename_new;
use super::replace::Replaced;
use super::{BAD_RECORDS, Place, SUCCESS, StagedPart, commit_folder};
use crate::failpoint::{Failpoint, Step};
use crate::side_by_side::try_for_each;

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

/// Publishes into the reserved folder. On an error, nothing stays visible that was not visible
/// before. Blocks on the file system. It dies at `failpoint`, in tests.
pub(crate) fn publish(
    place: &Place,
    publication: &Publication,
    failpoint: &Failpoint,
) -> Result<(), Unpublished> {
    debug_assert!(
        publication.quarantines.windows(2).all(|two| two[0].attempt.task < two[1].attempt.task),
        "a task's bad records are in one file"
    );
    debug_assert!(publication.epoch > Epoch(0), "nothing could be taken from an epoch below");
    let staging = place.staging();
    let folder = commit_folder::take(place, publication.epoch)
        .map_err(|error| failed(FailureCause::output_io(&staging, &error), &error))?;
    let commit = Commit { output: place.output(), folder: &folder, publication, failpoint };
    let done = if commit.is_done() { commit.sync_all() } else { commit.run() };
    done.inspect_err(|_| commit.undo())?;
    if let Err(error) = commit.replaced().remove() {
        let folder = folder.display();
        tracing::warn!(%folder, %error, "cannot remove the output that was replaced");
    }
    Ok(())
}

/// One publication, in its folder.
struct Commit<'a> {
    output: &'a Path,
    folder: &'a Path,
    publication: &'a Publication,
    failpoint: &'a Failpoint,
}

impl Commit<'_> {
    /// Whether another process, or this one before, has come to the end of it.
    fn is_done(&self) -> bool {
        File::open(self.output.join(SUCCESS))
            .is_ok_and(|manifest| manifest::is_of(BufReader::new(manifest), &self.publication.job))
    }

    fn run(&self) -> Result<(), Unpublished> {
        let failpoint = self.failpoint;
        if self.publication.overwrite {
            self.replaced()
                .move_aside(failpoint)
                .map_err(|error| failed_at(self.output, &error))?;
        }
        if !self.publication.quarantines.is_empty() {
            self.make_quarantine()?;
        }
        self.each_file(|part| {
            self.place_part(part)?;
            failpoint.reach(Step::PartRenamed);
            Ok(())
        })?;
        self.sync_parts()?;
        failpoint.reach(Step::BeforeManifest);
        self.write_manifest()?;
        failpoint.reach(Step::AfterManifest);
        Ok(())
    }

    fn make_quarantine(&self) -> Result<(), Unpublished> {
        let folder = self.output.join(BAD_RECORDS);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(failed_at(&folder, &error))
            }
            _ => Ok(()),
        }
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

    fn place_part(&self, part: &StagedPart) -> Result<(), Unpublished> {
        let (from, to) = (self.staged(part), self.visible(part));
        debug_assert!(from.starts_with(self.folder), "whoever was taken over finds no part");
        debug_assert!(!to.starts_with(self.folder), "a part that is visible is out of it");
        match fs::metadata(&from) {
            Ok(metadata) => check_size(&from, metadata.len(), part.bytes)?,
            Err(_) if is_in_place(&to, part) => return Ok(()),
            Err(error) => return Err(failed_at(&from, &error)),
        }
        rename_new(&from, &to).map_err(|error| failed_at(&to, &error))
    }

    /// Forces to disk what is visible by now, and that it is, if it must outlast a power failure.
    /// What workers of other machines have written was with the file system's server when they
    /// closed it.
    fn sync_parts(&self) -> Result<(), Unpublished> {
        if !self.publication.durable {
            return Ok(());
        }
        let sync = |path: &Path| sync(path).map_err(|error| failed_at(path, &error));
        self.each_file(|part| sync(&self.visible(part)))?;
        if !self.publication.quarantines.is_empty() {
            sync(&self.output.join(BAD_RECORDS))?;
        }
        sync(self.output)
    }

    /// Forces all of a publication to disk whose manifest is there: whoever wrote it may have died
    /// before it was on the disk.
    fn sync_all(&self) -> Result<(), Unpublished> {
        self.sync_parts()?;
        let manifest = self.output.join(SUCCESS);
        let sync_manifest = || match self.publication.durable {
            true => sync(&manifest).and_then(|()| sync(self.output)),
            false => Ok(()),
        };
        sync_manifest().map_err(|error| failed_at(&manifest, &error))
    }

    /// Written aside and renamed, so that a manifest is never seen in part.
    fn write_manifest(&self) -> Result<(), Unpublished> {
        let Publication { job, parts, quarantines, durable, .. } = self.publication;
        let (aside, to) = (self.folder.join(SUCCESS), self.output.join(SUCCESS));
        let write = || -> io::Result<()> {
            manifest::write(job, parts, quarantines, BufWriter::new(File::create(&aside)?))?;
            if *durable {
                sync(&aside)?;
            }
            rename_new(&aside, &to)?;
            if *durable { sync(self.output) } else { Ok(()) }
        };
        write().map_err(|error| failed_at(&to, &error))
    }

    /// The manifest goes first: what it names is whole as long as it is there. Parts go back to
    /// where they came from, so that all can be done once more.
    fn undo(&self) {
        if !self.folder.exists() {
            // Somebody else has taken over, and all of this is theirs.
            return;
        }
        let (manifest, aside) = (self.output.join(SUCCESS), self.folder.join(SUCCESS));
        debug_assert_ne!(self.folder, self.output, "what is taken back must go somewhere");
        if self.is_done()
            && let Err(error) = fs::rename(&manifest, &aside)
        {
            let path = manifest.display();
            tracing::error!(%path, %error, "the manifest of a failed job cannot be taken back, and its output stays");
            return;
        }
        // One that cannot be taken back does not keep the others.
        let _ = self.each_file(|part| {
            let (from, to) = (self.visible(part), self.staged(part));
            if !to.exists()
                && is_in_place(&from, part)
                && let Err(error) = rename_new(&from, &to)
            {
                let path = from.display();
                tracing::warn!(%path, %error, "cannot take back a part of a failed job");
            }
            Ok(())
        });
        // It stays if anything is in it that is not this job's.
        let _ = fs::remove_dir(self.output.join(BAD_RECORDS));
        if let Err(error) = self.replaced().restore() {
            let folder = self.folder.display();
            tracing::error!(%folder, %error, "the output that was to be replaced cannot be put back, and stays there");
        }
    }

    fn replaced(&self) -> Replaced<'_> {
        Replaced::new(self.output, self.folder)
    }

    fn staged(&self, part: &StagedPart) -> PathBuf {
        self.folder.join(part.staged_name())
    }

    fn visible(&self, part: &StagedPart) -> PathBuf {
        self.output.join(part.visible_name())
    }
}

/// Forces a file, or the names in a folder, to disk. Some file systems know no such thing for
/// folders.
fn sync(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

fn failed_at(path: &Path, error: &io::Error) -> Unpublished {
    failed(FailureCause::io(path, error), error)
}

/// What is in the way, or is not there, stays so by itself. Anything else may pass: a server that
/// is restarted, a full disk, rights that are given back.
fn failed(cause: FailureCause, error: &io::Error) -> Unpublished {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, NotFound};
    let stays = matches!(error.kind(), AlreadyExists | IsADirectory | NotADirectory | NotFound);
    Unpublished { cause: Box::new(cause), may_pass: !stays }
}

fn check_size(path: &Path, bytes: u64, expected_bytes: u64) -> Result<(), Unpublished> {
    if bytes == expected_bytes {
        return Ok(());
    }
    let cause = FailureCause::Corrupt {
        file: path.display().to_string(),
        offset: bytes.min(expected_bytes),
        message: format!("it has {bytes} bytes, but its task wrote {expected_bytes}"),
    };
    Err(Unpublished { cause: Box::new(cause), may_pass: false })
}

/// Whether this very part is visible already. Reads it, which only a publication that is done again
/// has to.
fn is_in_place(path: &Path, part: &StagedPart) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == part.bytes)
        && crc64(path).is_ok_and(|crc| crc == part.crc64)
}

pub(super) fn crc64(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut digest = Digest::new(Crc64Nvme);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize()),
            n => digest.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests;
