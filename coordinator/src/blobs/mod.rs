//! Programs and side files of submitters, each in a file named by its digest.
//!
//! ```text
//!  FOLDER/<digest>        complete, checked, on the disk
//!  FOLDER/<digest>.<submitter>.part   an upload that is running or was interrupted
//! ```
//!
//! Each submitter has files of their own for unfinished uploads: nobody can spoil or delay
//! another's upload.
//!
//! Content is never interpreted. The folder is bounded, and so is each submitter's share of it
//! (`quota`): blobs that no job needs are evicted when space is wanted, least recently used first;
//! unfinished uploads after a day. A file's modification time is its last use. The coordinator's
//! own executable counts as a blob, and has no copy.

mod error;
mod quota;
mod upload;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use windrow_jobs::{Blob, Digest};
use windrow_security::files::open_regular;

use crate::folder::Folder;
use crate::submitter::Submitter;
pub(crate) use error::BlobError;
pub(crate) use quota::Held;
use quota::Quota;
pub(crate) use upload::Upload;

/// The space that is reserved beyond the received bytes of an upload.
pub(crate) const ROOM_STEP: u64 = quota::STEP;

/// The bound of all blobs, in multiples of the largest blob.
const BLOBS_MAX: u64 = 4;

/// How much of a blob is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// All of the blob.
    Present,
    /// This many bytes, from the start.
    Received(u64),
}

/// Pins blobs until it is dropped.
pub(crate) struct Pin {
    store: Arc<BlobStore>,
    digests: Vec<Digest>,
    from: Submitter,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.with_room(|room| room.unpin(&self.digests, self.from));
    }
}

/// The folder of all blobs.
pub(crate) struct BlobStore {
    folder: Folder,
    /// Most bytes of one blob.
    blob_bytes_max: u64,
    /// This process's own executable.
    own: Option<(Blob, Arc<File>)>,
    room: Mutex<Quota>,
}

impl BlobStore {
    /// Stores blobs in `folder`. `own` is this process's executable, if it may be shipped.
    pub(crate) fn new(folder: Folder, blob_bytes_max: u64, own: Option<(Blob, Arc<File>)>) -> Self {
        Self {
            folder,
            blob_bytes_max,
            own,
            room: Mutex::new(Quota::new(blob_bytes_max.saturating_mul(BLOBS_MAX))),
        }
    }

    /// How much of a blob is stored. A stored one is kept for a while, so that its job can be
    /// submitted.
    pub(crate) fn offer(&self, blob: Blob, from: Submitter) -> Result<Offered, BlobError> {
        if self.is_own(blob.digest) {
            return Ok(Offered::Present);
        }
        if blob.bytes > self.blob_bytes_max {
            return Err(BlobError::TooLarge { bytes: blob.bytes, most: self.blob_bytes_max });
        }
        if self.open(blob.digest).is_ok() {
            self.with_room(|room| room.uses((blob.digest, from)));
            return Ok(Offered::Present);
        }
        let received = self.part(blob.digest, from)?.metadata().map_or(0, |part| part.len());
        Ok(Offered::Received(received.min(blob.bytes)))
    }

    /// Whether the blob is stored. Pin it before asking.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.is_own(digest) || self.open(digest).is_ok()
    }

    /// Opens a blob, and keeps it for a while.
    pub(crate) fn open(&self, digest: Digest) -> Result<Arc<File>, BlobError> {
        if let Some((_, file)) = self.own.as_ref().filter(|(own, _)| own.digest == digest) {
            return Ok(Arc::clone(file));
        }
        let path = self.path(digest)?;
        let opened = open_regular(&path, File::options().read(true));
        let file = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => BlobError::Missing { digest },
            _ => BlobError::Io { path, error },
        })?;
        // Without modification times, the order of eviction is another one.
        let _ = file.set_modified(SystemTime::now());
        Ok(Arc::new(file))
    }

    /// Begins or resumes an upload, of which its submitter has at most one. Blobs that are not
    /// `in_use` may be evicted for it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        blob: Blob,
        from: Submitter,
        in_use: &[Held],
    ) -> Result<Upload, BlobError> {
        if blob.bytes > self.blob_bytes_max {
            return Err(BlobError::TooLarge { bytes: blob.bytes, most: self.blob_bytes_max });
        }
        let (part, path) = (self.part(blob.digest, from)?, self.path(blob.digest)?);
        self.folder.made().map_err(BlobError::io(&self.folder()?))?;
        let received = part.metadata().map_or(0, |part| part.len()).min(blob.bytes);
        self.make_room((blob, received), from, in_use)?;
        Upload::open(Arc::clone(self), (blob, from), part, path)
    }

    /// Reserves space for [`ROOM_STEP`] beyond the received bytes of an upload.
    pub(crate) fn make_room(
        &self,
        coming: (Blob, u64),
        from: Submitter,
        in_use: &[Held],
    ) -> Result<(), BlobError> {
        let folder = self.folder()?;
        self.with_room(|room| room.make(&folder, coming, from, in_use))
    }

    /// Pins the blobs of a job that is being planned, which may take longer than recently used
    /// blobs are kept. Pin blobs before asking whether they are stored.
    ///
    /// Refuses blobs beyond the submitter's share.
    pub(crate) fn pin(
        self: &Arc<Self>,
        mut digests: Vec<Digest>,
        from: Submitter,
        in_use: &[Held],
    ) -> Result<Pin, BlobError> {
        // A coordinator that is sent nothing, such as an embedded one, needs no folder.
        digests.retain(|digest| !self.is_own(*digest));
        if digests.is_empty() {
            return Ok(Pin { store: Arc::clone(self), digests, from });
        }
        let folder = self.folder()?;
        self.with_room(|room| room.pin(&folder, &digests, from, in_use))?;
        Ok(Pin { store: Arc::clone(self), digests, from })
    }

    fn is_own(&self, digest: Digest) -> bool {
        self.own.as_ref().is_some_and(|(own, _)| own.digest == digest)
    }

    fn with_room<T>(&self, change: impl FnOnce(&mut Quota) -> T) -> T {
        change(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn path(&self, digest: Digest) -> Result<PathBuf, BlobError> {
        Ok(self.folder()?.join(digest.to_string()))
    }

    fn part(&self, digest: Digest, from: Submitter) -> Result<PathBuf, BlobError> {
        Ok(self.folder()?.join(quota::part_name(digest, from)))
    }

    fn folder(&self) -> Result<PathBuf, BlobError> {
        self.folder.path().map_err(BlobError::io(&std::env::temp_dir()))
    }
}

#[cfg(test)]
mod tests;
