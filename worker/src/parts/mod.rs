//! The files that attempts write for users: parts of the output, and files of bad records.
//!
//! ```text
//!  PartStore::create --> PartUpload --write, finish--> WrittenPart { PartHandle } --keep--> report
//!                            |                              |
//!                            '-- dropped: removed ----------'
//! ```
//!
//! A file is invisible until the coordinator publishes it, for which its handle suffices. A store
//! is added by implementing [`PartStore`], and in [`store`].

mod folder;
mod staging;

use std::path::Path;

use windrow_jobs::program::PartSink;
use windrow_jobs::{AttemptId, FailureCause, Location, PartHandle, PartKind};

pub(crate) use folder::open_staging;

/// A store to which attempts write, each under names of its own.
pub(crate) trait PartStore: Send + Sync {
    /// Begins a file of an attempt.
    fn create(
        &self,
        attempt: AttemptId,
        kind: PartKind,
    ) -> Result<Box<dyn PartUpload>, FailureCause>;

    /// The file's location; a process that reports another location is not believed. `None` if
    /// there can be no such file.
    fn location(&self, attempt: AttemptId, kind: PartKind) -> Option<Location>;
}

/// A file that is being written. Dropped before it is finished, it is removed.
pub(crate) trait PartUpload: PartSink + Send {
    /// Its name for messages.
    fn name(&self) -> String;

    /// Completes it, with this many records. Fails unless everything that was written is certain to
    /// be stored.
    fn finish(self: Box<Self>, records: u64) -> Result<WrittenPart, FailureCause>;
}

/// A complete file, which is discarded when this is dropped.
pub(crate) struct WrittenPart {
    /// The handle to report.
    pub(crate) handle: PartHandle,
    /// Discards the file unless it is kept.
    pub(crate) unreported: Box<dyn Unreported>,
}

/// A file that is removed when this is dropped, unless it is kept.
pub(crate) trait Unreported: Send {
    /// Keeps the file: from now on, its handle is responsible for it.
    fn keep(self: Box<Self>);
}

/// The store that a staging location is in.
pub(crate) fn store(staging: &Location) -> Result<Box<dyn PartStore>, FailureCause> {
    Ok(Box::new(staging::Staging::new(folder_of(staging)?, staging)))
}

/// The folder that attempts must be able to write to.
pub(crate) fn folder_of(staging: &Location) -> Result<&Path, FailureCause> {
    let folder = staging.to_local();
    folder.map_err(|no_store| FailureCause::Unsupported { message: no_store.to_string() })
}

/// Removes a reported file that is not wanted.
pub(crate) fn discard(handle: &PartHandle) {
    let discarded = match handle.location.to_local() {
        Ok(path) => folder::remove_staged(path),
        Err(no_store) => Err(std::io::Error::other(no_store)),
    };
    if let Err(error) = discarded
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(part = %handle.location, %error, "cannot discard a part");
    }
}
