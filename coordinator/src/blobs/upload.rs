//! Uploads of blobs.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;

use windrow_jobs::Blob;
use windrow_security::files::{open_regular, private};

use super::{BlobError, BlobStore};
use crate::submitter::Submitter;

/// An upload. When it is dropped, its bytes are kept for the next try.
pub(crate) struct Upload {
    store: Arc<BlobStore>,
    blob: Blob,
    from: Submitter,
    file: File,
    part: PathBuf,
    path: PathBuf,
    received: u64,
}

impl Upload {
    pub(super) fn open(
        store: Arc<BlobStore>,
        (blob, from): (Blob, Submitter),
        part: PathBuf,
        path: PathBuf,
    ) -> Result<Self, BlobError> {
        let opened = private().create(true).append(true).open(&part);
        let file = opened.map_err(BlobError::io(&part))?;
        let mut received = file.metadata().map_err(BlobError::io(&part))?.len();
        if received > blob.bytes {
            // An earlier upload declared another size: one of the two is wrong, so its bytes are
            // discarded.
            file.set_len(0).map_err(BlobError::io(&part))?;
            received = 0;
        }
        Ok(Self { store, blob, from, file, part, path, received })
    }

    /// The number of received bytes.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Writes bytes from `offset` on, and skips those that were received before.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), BlobError> {
        let received = self.received;
        let Some(known) = received.checked_sub(offset) else {
            return Err(BlobError::Gap { offset, received });
        };
        let new = data.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
        if new.len() as u64 > self.blob.bytes - received {
            return Err(BlobError::TooLong);
        }
        if let Err(error) = self.file.write_all(new) {
            if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                // The disk is full: others need the space more than the next try needs the partial
                // file.
                let _ = fs::remove_file(&self.part);
            }
            return Err(BlobError::Io { path: self.part.clone(), error });
        }
        self.received += new.len() as u64;
        Ok(())
    }

    /// Checks all bytes, and stores them durably under their final name.
    pub(crate) fn finish(self) -> Result<(), BlobError> {
        let (received, bytes) = (self.received, self.blob.bytes);
        if received < bytes {
            return Err(BlobError::Incomplete { received, bytes });
        }
        let failed = || BlobError::io(&self.part);
        // Read back, since an earlier upload may have written the beginning.
        let mut hasher = blake3::Hasher::new();
        let stored = open_regular(&self.part, File::options().read(true)).map_err(failed())?;
        hasher.update_reader(stored).map_err(failed())?;
        if hasher.finalize().as_bytes() != &self.blob.digest.0 {
            fs::remove_file(&self.part).map_err(failed())?;
            return Err(BlobError::WrongDigest);
        }
        self.file.sync_all().map_err(failed())?;
        fs::rename(&self.part, &self.path).map_err(failed())?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(BlobError::io(folder))?;
        }
        self.store.with_room(|room| room.uses((self.blob.digest, self.from)));
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.store.with_room(|room| room.settle(self.blob.digest, self.from));
    }
}
