//! What a part must be to become visible, and how it is known again.
//!
//! Its job wrote it, so it may be anything: a link to a file of the coordinator's user, a pipe, a
//! device, another name of a file that lies elsewhere. It must be a regular file that has no other
//! name, of the size that its attempt has reported.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crc_fast::{CrcAlgorithm::Crc64Nvme, Digest};
use rustix::fs::{FileType, Stat};
use windrow_jobs::FailureCause;
use windrow_scheduler::Unpublished;

use super::Publication;
use crate::output::folder::{Folder, Strange, kind};
use crate::output::{Content, StagedPart};

/// The files that this try has moved, by their numbers: they need not be read to be known again.
pub(super) struct Placed {
    parts: Vec<AtomicU64>,
    quarantines: Vec<AtomicU64>,
}

impl Placed {
    pub(super) fn new(publication: &Publication) -> Self {
        let none = |parts: &[StagedPart]| parts.iter().map(|_| AtomicU64::new(0)).collect();
        let Publication { parts, quarantines, .. } = publication;
        Self { parts: none(parts), quarantines: none(quarantines) }
    }

    pub(super) fn note(&self, publication: &Publication, part: &StagedPart, seen: &Stat) {
        if let Some(inode) = self.of(publication, part) {
            inode.store(seen.st_ino, Ordering::Relaxed);
        }
    }

    pub(super) fn has(&self, publication: &Publication, part: &StagedPart, seen: &Stat) -> bool {
        let inode = self.of(publication, part);
        inode.is_some_and(|inode| inode.load(Ordering::Relaxed) == seen.st_ino)
    }

    fn of(&self, publication: &Publication, part: &StagedPart) -> Option<&AtomicU64> {
        let (all, inodes) = match part.content {
            Content::Output => (&publication.parts, &self.parts),
            Content::BadRecords => (&publication.quarantines, &self.quarantines),
        };
        inodes.get(all.binary_search_by_key(&part.attempt.task, |part| part.attempt.task).ok()?)
    }
}

/// Whether what lies in the folder under this name can be what an attempt has reported.
pub(super) fn check(
    seen: &Stat,
    part: &StagedPart,
    folder: &Folder,
    name: &str,
) -> Result<(), Unpublished> {
    let (file_type, bytes) = (FileType::from_raw_mode(seen.st_mode), seen.st_size as u64);
    let (is_file, is_alone) = (file_type == FileType::RegularFile, seen.st_nlink <= 1);
    if is_file && is_alone && bytes == part.bytes {
        return Ok(());
    }
    let path = folder.at(name);
    if !is_file {
        return Err(failed_at(&path, &Strange(kind(file_type)).into()));
    }
    if !is_alone {
        let strange = Strange("a file with another name besides; only its own job may have it");
        return Err(failed_at(&path, &strange.into()));
    }
    let message = format!("it has {bytes} bytes, but its task wrote {}", part.bytes);
    Err(corrupt(&path, bytes.min(part.bytes), message))
}

/// Whether a file of the right size has the bytes that the attempt has written.
pub(super) fn is_of(file: File, part: &StagedPart, go_on: impl Fn() -> bool) -> bool {
    crc64(file, part.bytes, go_on).is_ok_and(|found| found == Some((part.bytes, part.crc64)))
}

/// The number of bytes and the checksum of a file, as far as `bytes_max` and one byte more. `None`
/// if it was not to `go_on`.
pub(in crate::output) fn crc64(
    file: File,
    bytes_max: u64,
    go_on: impl Fn() -> bool,
) -> io::Result<Option<(u64, u64)>> {
    let mut digest = Digest::new(Crc64Nvme);
    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
    let mut file = file.take(bytes_max.saturating_add(1));
    while go_on() {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some((bytes, digest.finalize()))),
            Ok(n) => {
                digest.update(&buffer[..n]);
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Another file was put in the place of the one that was looked at.
pub(super) fn exchanged(path: &Path) -> Unpublished {
    corrupt(path, 0, "another file was put in its place while it was published".into())
}

fn corrupt(path: &Path, offset: u64, message: String) -> Unpublished {
    let file = path.display().to_string();
    let cause = FailureCause::Corrupt { file, offset, message };
    Unpublished { cause: Box::new(cause), may_pass: false }
}

/// All of it could be published again, but for whoever has stopped it.
pub(super) fn stopped() -> Unpublished {
    Unpublished { cause: Box::new(FailureCause::Cancelled), may_pass: true }
}

pub(super) fn failed_at(path: &Path, error: &io::Error) -> Unpublished {
    failed(FailureCause::io(path, error), error)
}

/// What is in the way, or is not there, stays so by itself. Anything else may pass: a server that
/// is restarted, a full disk, rights that are given back.
pub(super) fn failed(cause: FailureCause, error: &io::Error) -> Unpublished {
    use io::ErrorKind::{AlreadyExists, InvalidData, IsADirectory, NotADirectory, NotFound};
    let stays = matches!(
        error.kind(),
        AlreadyExists | InvalidData | IsADirectory | NotADirectory | NotFound
    );
    Unpublished { cause: Box::new(cause), may_pass: !stays }
}
