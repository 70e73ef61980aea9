//! Programs and side files of jobs, fetched from the coordinator once and kept in the worker's folder for the next job.
//!
//! ```text
//!  get(blob) -- in use? -- on the disk, and what its digest says? -- else fetch, check, rename
//! ```
//!
//! What has been fetched is checked before it has its name, and once more when it is first used after a restart; a damaged
//! file is fetched again. Files are for reading, programs for running besides, and only when they are whole. The cache is
//! bounded: what is not in use goes when room is wanted, the least recently used first.

mod download;
mod job_files;

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use tokio::task::spawn_blocking;
use windrow_jobs::{Blob, Digest, FailureCause};

pub(crate) use download::Source;
pub(crate) use job_files::{JobFiles, Programs};

use crate::sync::lock;

/// Ends the name of a file that is not whole.
const PART: &str = ".part";

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// To be run.
    Program,
    /// To be read.
    Data,
}

/// A blob on the disk; it stays there as long as somebody has this.
#[derive(Debug)]
pub(crate) struct Cached {
    /// Absolute.
    pub(crate) path: PathBuf,
}

/// The blobs of a worker.
pub(crate) struct BlobCache {
    folder: PathBuf,
    bytes_max: u64,
    source: Source,
    entries: Mutex<HashMap<Digest, Arc<Entry>>>,
}

/// What is known of one blob. Locked while it is looked for, so that it is fetched once.
#[derive(Default)]
struct Entry {
    cached: tokio::sync::Mutex<Known>,
    /// Whoever uses it now.
    users: Mutex<Weak<Cached>>,
}

#[derive(Default)]
struct Known {
    /// Whether the file was checked since this process started.
    is_checked: bool,
}

impl BlobCache {
    /// Keeps them in `folder`, at most so many bytes besides what is in use.
    pub(crate) fn new(folder: PathBuf, bytes_max: u64, source: Source) -> Self {
        Self { folder, bytes_max, source, entries: Mutex::default() }
    }

    /// The file with this content, fetched if it is not here.
    pub(crate) async fn get(
        self: &Arc<Self>,
        blob: Blob,
        used_as: Use,
    ) -> Result<Arc<Cached>, FailureCause> {
        let entry = Arc::clone(lock(&self.entries).entry(blob.digest).or_default());
        let mut known = entry.cached.lock().await;
        if let Some(cached) = lock(&entry.users).upgrade() {
            return Ok(cached);
        }
        let path = self.path(blob.digest);
        if !self.is_here(&path, blob, known.is_checked).await? {
            self.fetch(&path, blob).await?;
        }
        known.is_checked = true;
        let failed = |error| FailureCause::io(&path, &error);
        let mode = if used_as == Use::Program { 0o555 } else { 0o444 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed)?;
        let cached = Arc::new(Cached { path });
        *lock(&entry.users) = Arc::downgrade(&cached);
        Ok(cached)
    }

    /// Whether the file is whole; notes that it is of use.
    async fn is_here(
        &self,
        path: &Path,
        blob: Blob,
        is_checked: bool,
    ) -> Result<bool, FailureCause> {
        let at = path.to_path_buf();
        let looked = blocking(path, move || {
            let file = match File::open(&at) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
            let is_whole = file.metadata()?.len() == blob.bytes;
            let _ = file.set_modified(SystemTime::now());
            Ok(is_whole && (is_checked || digest_of(&file)? == blob.digest))
        });
        let is_here = looked.await?;
        if !is_here && path.exists() {
            tracing::warn!(path = %path.display(), "a cached program is damaged; fetching it again");
        }
        Ok(is_here)
    }

    async fn fetch(self: &Arc<Self>, path: &Path, blob: Blob) -> Result<(), FailureCause> {
        let (cache, folder) = (Arc::clone(self), self.folder.clone());
        blocking(&folder, move || cache.make_room(blob)).await?;
        let part = path.with_extension(PART.trim_start_matches('.'));
        let fetched = download::download(&self.source, blob, &part).await;
        let renamed = fetched
            .and_then(|()| fs::rename(&part, path).map_err(|error| FailureCause::io(path, &error)));
        if renamed.is_err() {
            let _ = fs::remove_file(&part);
        } else {
            tracing::info!(digest = %blob.digest, bytes = blob.bytes, "fetched a program or side file");
        }
        renamed
    }

    /// Removes files that are not in use, the least recently used first, until one more fits.
    fn make_room(&self, blob: Blob) -> io::Result<()> {
        if blob.bytes > self.bytes_max {
            let text = format!(
                "a program or side file of {} bytes does not fit the {} of --program-cache",
                blob.bytes, self.bytes_max
            );
            return Err(io::Error::other(text));
        }
        fs::create_dir_all(&self.folder)?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(Digest::from_hex) else { continue };
            let metadata = entry.metadata()?;
            if digest != blob.digest && !self.is_in_use(digest) {
                kept.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, file_bytes, path) in kept {
            if bytes + blob.bytes <= self.bytes_max {
                break;
            }
            fs::remove_file(&path)?;
            bytes -= file_bytes;
        }
        Ok(())
    }

    /// Whether somebody has it, or is about to.
    fn is_in_use(&self, digest: Digest) -> bool {
        let Some(entry) = lock(&self.entries).get(&digest).cloned() else { return false };
        entry.cached.try_lock().is_err() || lock(&entry.users).strong_count() > 0
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }
}

fn digest_of(file: &File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Does what may block for a while.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FailureCause> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| FailureCause::io(path, &error))
}

#[cfg(test)]
mod tests;
