//! What a part must be to become visible, and how it is recognised.
//!
//! The job wrote it, so it may be anything: a link to a file of the coordinator's user, a pipe, a
//! device, a program that would run as the worker's user. It must be a regular file of the size
//! that its attempt has reported, without a setuid, setgid or sticky bit. A part with another hard
//! link, as backup programs make them, is copied.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FileType, Mode, Stat};
use windrow_jobs::checksum::Crc64;
use windrow_jobs::{FailureCause, PartKind};
use windrow_scheduler::Unpublished;

use super::Publication;
use crate::output::StagedPart;
use crate::output::folder::{Folder, Strange, kind};

/// The files that this try has moved, by inode number: they are recognised without being read.
pub(super) struct Placed {
    parts: Vec<AtomicU64>,
    bad_records: Vec<AtomicU64>,
}

impl Placed {
    pub(super) fn new(publication: &Publication) -> Self {
        let none = |parts: &[StagedPart]| parts.iter().map(|_| AtomicU64::new(0)).collect();
        let Publication { parts, bad_records, .. } = publication;
        Self { parts: none(parts), bad_records: none(bad_records) }
    }

    pub(super) fn note(&self, publication: &Publication, part: &StagedPart, seen: &Stat) {
        debug_assert!(
            self.of(publication, part).is_some(),
            "the part would be read when it is taken back, and might stay"
        );
        if let Some(inode) = self.of(publication, part) {
            inode.store(seen.st_ino, Ordering::Relaxed);
        }
    }

    pub(super) fn has(&self, publication: &Publication, part: &StagedPart, seen: &Stat) -> bool {
        let inode = self.of(publication, part);
        debug_assert!(inode.is_some(), "only parts of the publication are placed");
        inode.is_some_and(|inode| inode.load(Ordering::Relaxed) == seen.st_ino)
    }

    fn of(&self, publication: &Publication, part: &StagedPart) -> Option<&AtomicU64> {
        let (all, inodes) = match part.kind {
            PartKind::Output => (&publication.parts, &self.parts),
            PartKind::BadRecords => (&publication.bad_records, &self.bad_records),
        };
        inodes.get(all.binary_search_by_key(&part.attempt.task, |part| part.attempt.task).ok()?)
    }
}

/// A program with these bits runs as the user who wrote it.
pub(in crate::output) const SPECIAL: Mode = Mode::SUID.union(Mode::SGID).union(Mode::SVTX);

const _: () = assert!(SPECIAL.as_raw_mode() == 0o7000, "all bits beside the permissions");

/// Whether the entry of this name in the folder can be the file that an attempt has reported.
pub(super) fn check(
    seen: &Stat,
    part: &StagedPart,
    folder: &Folder,
    name: &str,
) -> Result<(), Unpublished> {
    let (file_type, bytes) = (FileType::from_raw_mode(seen.st_mode), seen.st_size as u64);
    let is_file = file_type == FileType::RegularFile;
    let is_special = Mode::from_raw_mode(seen.st_mode).intersects(SPECIAL);
    if is_file && !is_special && bytes == part.bytes {
        return Ok(());
    }
    let path = folder.at(name);
    if !is_file {
        return Err(failed_at(&path, &Strange(kind(file_type)).into()));
    }
    if is_special {
        let strange = Strange("a file with a setuid, setgid or sticky bit, which no task writes");
        return Err(failed_at(&path, &strange.into()));
    }
    let message = format!("it has {bytes} bytes, but its task wrote {}", part.bytes);
    Err(corrupt(&path, bytes.min(part.bytes), message))
}

/// Whether the file has this name only.
pub(super) fn has_one_link(seen: &Stat) -> bool {
    seen.st_nlink <= 1
}

/// Whether a file of the right size has the attempt's bytes.
pub(super) fn is_of(file: File, part: &StagedPart, go_on: impl Fn() -> bool) -> bool {
    crc64(file, part.bytes, go_on).is_ok_and(|found| found == Some((part.bytes, part.crc64)))
}

/// The number of bytes and the checksum of a file, up to `bytes_max` and one byte more. `None` if
/// stopped by `go_on`.
pub(in crate::output) fn crc64(
    file: File,
    bytes_max: u64,
    go_on: impl Fn() -> bool,
) -> io::Result<Option<(u64, u64)>> {
    copy_crc64(file, bytes_max, go_on, |_| Ok(()))
}

/// Likewise, while copying the file.
pub(super) fn copy_crc64(
    file: File,
    bytes_max: u64,
    go_on: impl Fn() -> bool,
    mut copy: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Option<(u64, u64)>> {
    let mut checksum = Crc64::new();
    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
    let mut file = file.take(bytes_max.saturating_add(1));
    while go_on() {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some((bytes, checksum.finish()))),
            Ok(n) => {
                checksum.update(&buffer[..n]);
                copy(&buffer[..n])?;
                bytes += n as u64;
                debug_assert!(
                    bytes <= bytes_max.saturating_add(1),
                    "a growing file would be read for ever"
                );
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The file was replaced after it was checked.
pub(super) fn exchanged(path: &Path) -> Unpublished {
    corrupt(path, 0, "another file was put in its place while it was published".into())
}

/// The file got another hard link between two checks. A transient fault: the next try copies it.
pub(super) fn linked(path: &Path) -> Unpublished {
    let text = "it got another hard link while it was published; \
                exclude _temporary from backups by hard links";
    failed_at(path, &io::Error::new(io::ErrorKind::ResourceBusy, text))
}

pub(super) fn corrupt(path: &Path, offset: u64, message: String) -> Unpublished {
    debug_assert!(!message.is_empty(), "a failure must name its cause");
    let file = path.display().to_string();
    let cause = FailureCause::Corrupt { file, offset, message };
    Unpublished { cause: Box::new(cause), may_pass: false }
}

/// Adds the path of the old output that was not put back: it may be the only copy.
pub(super) fn with_aside(mut failure: Unpublished, aside: Option<PathBuf>) -> Unpublished {
    let Some(aside) = aside else { return failure };
    let note = format!("; the old output could not be put back, and is in {}", aside.display());
    match &mut *failure.cause {
        FailureCause::Io { message, .. } | FailureCause::Corrupt { message, .. } => {
            message.push_str(&note);
        }
        // The log names it for cancelled and retried publications.
        _ => {}
    }
    failure
}

/// The publication was stopped; it could be repeated.
pub(super) fn stopped() -> Unpublished {
    Unpublished { cause: Box::new(FailureCause::Cancelled), may_pass: true }
}

pub(super) fn failed_at(path: &Path, error: &io::Error) -> Unpublished {
    failed(FailureCause::io(path, error), error)
}

/// An entry in the way, or a missing one, is permanent. Any other error may be transient: a server
/// that is restarted, a full disk, permissions that are restored.
pub(super) fn failed(cause: FailureCause, error: &io::Error) -> Unpublished {
    use io::ErrorKind::{AlreadyExists, InvalidData, IsADirectory, NotADirectory, NotFound};
    let stays = matches!(
        error.kind(),
        AlreadyExists | InvalidData | IsADirectory | NotADirectory | NotFound
    );
    Unpublished { cause: Box::new(cause), may_pass: !stays }
}
