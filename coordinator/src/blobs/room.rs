//! Keeps the folder within its bound.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use windrow_jobs::{Blob, Digest};

use super::BlobError;
use crate::submitter::Submitter;

/// Ends the name of a file that is not whole.
const PART: &str = ".part";

/// The name of what there is of a blob that is not whole.
pub(super) fn part_name(digest: Digest, from: Submitter) -> String {
    format!("{digest}.{:016x}{PART}", from.0)
}

/// What a file of this name is, and from whom if it is not whole.
fn digest_in(name: &str) -> Option<(Digest, Option<Submitter>)> {
    let Some(part) = name.strip_suffix(PART) else { return Some((Digest::from_hex(name)?, None)) };
    // Parts of former versions say no submitter.
    let (digest, from) = part.split_once('.').unwrap_or((part, "0"));
    let from = u64::from_str_radix(from, 16).ok()?;
    Some((Digest::from_hex(digest)?, Some(Submitter(from))))
}

/// What was of use a moment ago may be about to be submitted.
const RECENT: Duration = Duration::from_secs(600);
/// How long what broke off is kept.
const PART_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How much there may be, and what has been promised of it.
pub(super) struct Room {
    bytes_max: u64,
    /// Sizes of blobs that are being uploaded.
    promised: BTreeMap<(Digest, Submitter), u64>,
    /// How many need each of these at the moment.
    pinned: BTreeMap<Digest, usize>,
}

/// A file of the folder.
struct Kept {
    path: PathBuf,
    digest: Digest,
    bytes: u64,
    used: SystemTime,
    is_part: bool,
}

impl Room {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, promised: BTreeMap::new(), pinned: BTreeMap::new() }
    }

    /// Keeps these, whether they are there or not, until they are unpinned as often.
    pub(super) fn pin(&mut self, digests: &[Digest]) {
        for digest in digests {
            *self.pinned.entry(*digest).or_default() += 1;
        }
    }

    /// What was pinned is not needed for that any more.
    pub(super) fn unpin(&mut self, digests: &[Digest]) {
        for digest in digests {
            debug_assert!(self.pinned.contains_key(digest), "it was pinned before");
            if let Some(pins) = self.pinned.get_mut(digest) {
                *pins -= 1;
                if *pins == 0 {
                    self.pinned.remove(digest);
                }
            }
        }
    }

    /// Promises room for a blob; removes others for it that are neither in use nor recent, the
    /// least recently used first.
    pub(super) fn make(
        &mut self,
        folder: &Path,
        blob: Blob,
        from: Submitter,
        in_use: &[Digest],
    ) -> Result<(), BlobError> {
        self.promised.remove(&(blob.digest, from));
        let mut kept = self.kept(folder, (blob.digest, from))?;
        let mut bytes: u64 = kept.iter().map(|file| file.bytes).sum();
        bytes += self.promised.values().sum::<u64>();
        kept.sort_by_key(|file| file.used);
        let now = SystemTime::now();
        for file in kept {
            let age = now.duration_since(file.used).unwrap_or_default();
            let is_stale = file.is_part && age > PART_KEPT;
            let is_pinned = self.pinned.contains_key(&file.digest);
            let is_wanted = age < RECENT || is_pinned || in_use.contains(&file.digest);
            let is_needed = bytes.saturating_add(blob.bytes) > self.bytes_max;
            if is_stale || (is_needed && !is_wanted) {
                fs::remove_file(&file.path).map_err(BlobError::io(&file.path))?;
                tracing::info!(digest = %file.digest, bytes = file.bytes, "removed a program that nobody needs");
                bytes -= file.bytes;
            }
        }
        if bytes.saturating_add(blob.bytes) > self.bytes_max {
            return Err(BlobError::NoRoom { bytes: blob.bytes, most: self.bytes_max });
        }
        self.promised.insert((blob.digest, from), blob.bytes);
        Ok(())
    }

    /// The upload is over, or has broken off: what is in the folder counts.
    pub(super) fn settle(&mut self, digest: Digest, from: Submitter) {
        self.promised.remove(&(digest, from));
    }

    /// All files but those that are being uploaded, which are promised, and what there is of
    /// `wanted`.
    fn kept(&self, folder: &Path, wanted: (Digest, Submitter)) -> Result<Vec<Kept>, BlobError> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(folder).map_err(BlobError::io(folder))? {
            let entry = entry.map_err(BlobError::io(folder))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // What is called otherwise is not ours.
            let Some((digest, from)) = digest_in(&name) else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let is_wanted = digest == wanted.0 && from.is_none_or(|from| from == wanted.1);
            let is_coming = from.is_some_and(|from| self.promised.contains_key(&(digest, from)));
            if is_wanted || is_coming {
                continue;
            }
            kept.push(Kept {
                path: entry.path(),
                digest,
                bytes: metadata.len(),
                used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                is_part: from.is_some(),
            });
        }
        Ok(kept)
    }
}
