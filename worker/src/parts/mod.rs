//! Where attempts write what is for people: parts of the output, and files of skipped records.
//!
//! ```text
//!  PartStore::create --> PartUpload --write, finish--> WrittenPart { PartHandle } --keep--> report
//!                            |                              |
//!                            '-- dropped: nothing stays ----'
//! ```
//!
//! What is written is visible to nobody until the coordinator publishes it; its handle says all
//! that this takes. A store is added by implementing [`PartStore`], and in [`store`].

mod folder;
mod staging;

use std::path::Path;

use windrow_jobs::program::PartSink;
use windrow_jobs::{AttemptId, FailureCause, Location, PartHandle, PartKind};

pub(crate) use folder::open_staging;

/// A store that attempts write to, each under names of its own.
pub(crate) trait PartStore: Send + Sync {
    /// Begins what an attempt writes.
    fn create(
        &self,
        attempt: AttemptId,
        kind: PartKind,
    ) -> Result<Box<dyn PartUpload>, FailureCause>;

    /// Where that lies. Who hears of another place from whoever runs the attempt does not believe
    /// it. `None` if there can be no such place.
    fn location(&self, attempt: AttemptId, kind: PartKind) -> Option<Location>;
}

/// A part in the making. Dropped before it is finished, it leaves nothing.
pub(crate) trait PartUpload: PartSink + Send {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// Completes it, as far as an attempt does; it has this many records. An error unless all that
    /// was written is sure to be there.
    fn finish(self: Box<Self>, records: u64) -> Result<WrittenPart, FailureCause>;
}

/// A part that is complete, and discarded when this is dropped.
pub(crate) struct WrittenPart {
    /// What is reported of it.
    pub(crate) handle: PartHandle,
    /// Answers for it until then.
    pub(crate) unreported: Box<dyn Unreported>,
}

/// Something that goes when this is dropped, unless it is kept.
pub(crate) trait Unreported: Send {
    /// Leaves it where it is: from now on, its handle answers for it.
    fn keep(self: Box<Self>);
}

/// The store behind a job's staging folder.
pub(crate) fn store(staging: &Path) -> Box<dyn PartStore> {
    Box::new(staging::Staging::new(staging))
}

/// Removes what an attempt has reported, and nobody wants.
pub(crate) fn discard(handle: &PartHandle) {
    let discarded = match handle.location.to_local() {
        Ok(path) => folder::remove_staged(path),
        Err(no_store) => Err(std::io::Error::other(no_store)),
    };
    if let Err(error) = discarded
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(part = %handle.location, %error, "a part could not be discarded");
    }
}
