//! A cache of the programs and side files of jobs: each is fetched from the coordinator once and
//! kept in the worker's folder for the next job.
//!
//! ```text
//!  get(blob) -- in use? -- on the disk, with the right digest? -- else fetch, verify, rename
//! ```
//!
//! An interrupted download resumes (`download`). A file is verified before it gets its name, and
//! once more when it is used after a restart or after a change; a damaged file is fetched again.
//! Complete files are readable, and programs executable. The cache is bounded: unused files are
//! evicted when room is needed, the least recently used first.

mod download;

use std::collections::HashMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use rustix::fs::Gid;
use windrow_jobs::{Blob, Digest, FailureCause};
use windrow_security::files::make_private_folder;

pub(crate) use download::Source;

use crate::files::{PASSES, give_back_at, share};
use crate::sync::{blocking, lock};

/// Suffix of an incomplete file.
const PART: &str = ".part";

/// How a file is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is executed.
    Program,
    /// It is read.
    Data,
}

impl Use {
    /// The owner's permission bits.
    pub(crate) fn rights(self) -> u32 {
        match self {
            Self::Program => 0o500,
            Self::Data => 0o400,
        }
    }
}

/// A blob on the disk, which stays there as long as this handle exists.
#[derive(Debug)]
pub(crate) struct Cached {
    /// Its absolute path.
    pub(crate) path: PathBuf,
}

/// The blobs of a worker.
pub(crate) struct BlobCache {
    folder: PathBuf,
    bytes_max: u64,
    source: Source,
    /// The group that may read and run the blobs besides this user.
    readers: Option<Gid>,
    entries: Mutex<HashMap<Digest, Arc<Entry>>>,
}

/// The state of one blob.
#[derive(Default)]
struct Entry {
    /// The file's stamp when it was last verified. Locked during a lookup, so that a blob is
    /// fetched once.
    checked: tokio::sync::Mutex<Option<Stamp>>,
    /// The users of the file.
    users: Mutex<Weak<Cached>>,
}

/// Detects that a file was changed or replaced: only the kernel sets the time of the last status
/// change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Self { inode: metadata.ino(), bytes: metadata.len(), changed }
    }
}

impl Entry {
    /// Whether somebody has the blob, or is looking it up. The caller holds the lock of all
    /// entries.
    fn is_wanted(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || lock(&self.users).strong_count() > 0
    }
}

impl BlobCache {
    /// Keeps blobs in `folder`, with at most so many bytes of unused ones. A group may read them.
    pub(crate) fn new(
        folder: PathBuf,
        bytes_max: u64,
        source: Source,
        readers: Option<Gid>,
    ) -> Self {
        Self { folder, bytes_max, source, readers, entries: Mutex::default() }
    }

    /// The file with this content, fetched if it is not here. A fetch runs to its end even if the
    /// caller stops waiting.
    pub(crate) async fn get(
        self: &Arc<Self>,
        blob: Blob,
        used_as: Use,
    ) -> Result<Arc<Cached>, FailureCause> {
        let cache = Arc::clone(self);
        let getting = tokio::spawn(async move { cache.find(blob, used_as).await });
        getting.await.unwrap_or(Err(FailureCause::Cancelled))
    }

    async fn find(self: &Arc<Self>, blob: Blob, used_as: Use) -> Result<Arc<Cached>, FailureCause> {
        let entry = Arc::clone(lock(&self.entries).entry(blob.digest).or_default());
        let mut checked = entry.checked.lock().await;
        if let Some(cached) = lock(&entry.users).upgrade() {
            // A job that uses it can have removed its permissions.
            let given = give_back_at(&cached.path, used_as.rights());
            given.map_err(|error| FailureCause::io(&cached.path, &error))?;
            return Ok(cached);
        }
        let path = self.path(blob.digest);
        let (at, known, cache) = (path.clone(), *checked, Arc::clone(self));
        let look = move || cache.make_folder().and_then(|()| is_whole(&at, blob, known));
        if !blocking(look).await.map_err(|error| FailureCause::io(&path, &error))? {
            self.fetch(&path, blob).await?;
        }
        let failed = |error| FailureCause::io(&path, &error);
        *checked = Some(make_ready(&path, used_as, self.readers).map_err(failed)?);
        let cached = Arc::new(Cached { path });
        *lock(&entry.users) = Arc::downgrade(&cached);
        Ok(cached)
    }

    async fn fetch(self: &Arc<Self>, path: &Path, blob: Blob) -> Result<(), FailureCause> {
        let (cache, folder) = (Arc::clone(self), self.folder.clone());
        let made = blocking(move || cache.make_room(blob)).await;
        made.map_err(|error| FailureCause::io(&folder, &error))?;
        let part = path.with_extension(PART.trim_start_matches('.'));
        let fetched = download::download(&self.source, blob, &part).await;
        let renamed = fetched
            .and_then(|()| fs::rename(&part, path).map_err(|error| FailureCause::io(path, &error)));
        if renamed.is_ok() {
            tracing::info!(digest = %blob.digest, bytes = blob.bytes, "fetched a program or side file");
        }
        renamed
    }

    fn make_folder(&self) -> io::Result<()> {
        let Some(group) = self.readers else { return make_private_folder(&self.folder) };
        if !self.folder.exists() {
            make_private_folder(&self.folder)?;
        }
        share(File::open(&self.folder)?, group, PASSES)
    }

    /// Removes unused files, the least recently used first, until the blob fits.
    fn make_room(&self, blob: Blob) -> io::Result<()> {
        if blob.bytes > self.bytes_max {
            let text = format!(
                "a program or side file of {} bytes does not fit into the {} of --program-cache",
                blob.bytes, self.bytes_max
            );
            return Err(io::Error::other(text));
        }
        let mut kept = Vec::new();
        let mut bytes = blob.bytes;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // A file with any other name was not made by this cache.
            let Some(digest) = Digest::from_hex(name.trim_end_matches(PART)) else { continue };
            if digest == blob.digest || self.is_wanted(digest) {
                continue;
            }
            // Another job may have removed it since.
            let Some(metadata) = unless_gone(entry.metadata())? else { continue };
            bytes += metadata.len();
            // A partial file is useful only to the next fetch of the same blob, so it goes first.
            let used = (!name.ends_with(PART)).then(|| metadata.modified()).transpose()?;
            kept.push((used, digest, metadata.len(), entry.path()));
        }
        kept.sort();
        for (used, digest, file_bytes, path) in kept {
            if (used.is_none() || bytes > self.bytes_max) && self.evict(digest, &path)? {
                bytes -= file_bytes;
            }
        }
        Ok(())
    }

    /// Removes a file, unless somebody wants it; false if it still takes up room. A lookup that
    /// begins meanwhile waits, and finds the file gone.
    fn evict(&self, digest: Digest, path: &Path) -> io::Result<bool> {
        let mut entries = lock(&self.entries);
        if entries.get(&digest).is_some_and(Entry::is_wanted) {
            return Ok(false);
        }
        entries.remove(&digest);
        // A file that is already gone takes up no room either.
        unless_gone(fs::remove_file(path)).map(|_| true)
    }

    fn is_wanted(&self, digest: Digest) -> bool {
        lock(&self.entries).get(&digest).is_some_and(Entry::is_wanted)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }
}

/// `None` if the file does not exist.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the file exists and holds the blob. A file that still has its `known` stamp is not read.
fn is_whole(path: &Path, blob: Blob, known: Option<Stamp>) -> io::Result<bool> {
    if unless_gone(give_back_at(path, Use::Data.rights()))?.is_none() {
        return Ok(false);
    }
    let Some(file) = unless_gone(File::open(path))? else { return Ok(false) };
    let now = Stamp::of(&file.metadata()?);
    let is_whole =
        known == Some(now) || (now.bytes == blob.bytes && digest_of(&file)? == blob.digest);
    if !is_whole {
        tracing::warn!(path = %path.display(), "a cached program is damaged; fetching it again");
    }
    Ok(is_whole)
}

/// Restores the file's permissions, and marks it as recently used.
fn make_ready(path: &Path, used_as: Use, readers: Option<Gid>) -> io::Result<Stamp> {
    let (file, rights) = (File::open(path)?, used_as.rights());
    match readers {
        Some(group) => share(&file, group, rights | rights >> 3)?,
        None => file.set_permissions(Permissions::from_mode(rights))?,
    }
    // On a file system that cannot set times, the order of eviction is a different one.
    let _ = file.set_modified(SystemTime::now());
    Ok(Stamp::of(&file.metadata()?))
}

fn digest_of(file: &File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests;
