//! Programs and side files that submitters have sent, each in a file with its digest for a name.
//!
//! ```text
//!  FOLDER/<digest>        whole, checked, on the disk
//!  FOLDER/<digest>.<submitter>.part   what an upload has sent that is not over, or has broken off
//! ```
//!
//! Of what is not whole, each submitter has their own: nobody can spoil, or hold up, the upload of
//! another one.
//!
//! Nothing here is opened as anything but bytes. The folder is bounded, and so is what one
//! submitter holds of it (`room`): what no job needs goes when room is wanted, least recently used
//! first; what broke off goes after a day. A file's modification time is when it was last of use.
//! The coordinator's own executable counts as one of them, and has no copy.

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

/// For so much more than what has come of an upload, there is room.
pub(crate) const ROOM_STEP: u64 = quota::STEP;

/// All blobs together may be so many times as large as one may be.
const BLOBS_MAX: u64 = 4;

/// What there is of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// All of it.
    Present,
    /// This many bytes, from the start.
    Received(u64),
}

/// Keeps blobs until it is dropped.
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
    /// Most bytes of one.
    blob_bytes_max: u64,
    /// This process's own executable.
    own: Option<(Blob, Arc<File>)>,
    room: Mutex<Quota>,
}

impl BlobStore {
    /// Keeps them in `folder`. `own` is this process's executable, if that may be shipped.
    pub(crate) fn new(folder: Folder, blob_bytes_max: u64, own: Option<(Blob, Arc<File>)>) -> Self {
        Self {
            folder,
            blob_bytes_max,
            own,
            room: Mutex::new(Quota::new(blob_bytes_max.saturating_mul(BLOBS_MAX))),
        }
    }

    /// What there is of it. One that is there is kept for a while, so that its job can be
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

    /// Whether it is there. Who needs it pins it before.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.is_own(digest) || self.open(digest).is_ok()
    }

    /// Opens it, and keeps it for a while.
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
        // On a file system that cannot say when, the order in which blobs go is another one.
        let _ = file.set_modified(SystemTime::now());
        Ok(Arc::new(file))
    }

    /// Goes on with what there is of a blob, which its submitter uploads once. Blobs that are not
    /// `in_use` may go for it.
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

    /// Makes room for more of a blob that is being uploaded, and of which so many bytes have come.
    /// There is room for [`ROOM_STEP`] more then.
    pub(crate) fn make_room(
        &self,
        coming: (Blob, u64),
        from: Submitter,
        in_use: &[Held],
    ) -> Result<(), BlobError> {
        let folder = self.folder()?;
        self.with_room(|room| room.make(&folder, coming, from, in_use))
    }

    /// Keeps blobs as long as the pin lives: those of a job that is being planned, which may take
    /// longer than what was of use is kept for. To be called before it is looked whether they are
    /// there.
    ///
    /// Refuses what its submitter would need beyond their share.
    pub(crate) fn pin(
        self: &Arc<Self>,
        digests: Vec<Digest>,
        from: Submitter,
        in_use: &[Held],
    ) -> Result<Pin, BlobError> {
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
