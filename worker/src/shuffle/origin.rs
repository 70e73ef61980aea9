//! The map output that a source reads: a fault of its data is blamed on the map attempt that made
//! it, and the map runs again.
//!
//! A lack of the reader's own resources (descriptors, memory, disk, permissions) is its machine's
//! fault: it fails the reader's attempt, and no good output is made again for it. Sources tell the
//! two apart: the first is `Corrupt`, the second `Io`.

use windrow_jobs::{Audit, FailureCause, WorkerId};

use super::block::Block;
use super::source::{BlockSource, Position};

/// One output of a map task, and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Number of the map task.
    pub map_task: u32,
    /// The attempt at the task.
    pub map_attempt: u32,
    /// The worker that holds it.
    pub worker: WorkerId,
}

impl Origin {
    /// The failure of a reducer that could not read this output.
    pub fn failed(&self, message: impl Into<String>) -> FailureCause {
        FailureCause::FetchFailed {
            map_task: self.map_task,
            map_attempt: self.map_attempt,
            worker: self.worker,
            message: message.into(),
        }
    }

    /// The failure of a reducer whose source has failed with `cause`.
    fn blamed(&self, cause: FailureCause) -> FailureCause {
        match cause {
            FailureCause::Io { .. } | FailureCause::Cancelled => cause,
            cause => self.failed(cause.to_string()),
        }
    }
}

/// A source whose failures are blamed on its origin.
pub struct MapOutputSource {
    source: Box<dyn BlockSource>,
    origin: Origin,
}

impl MapOutputSource {
    /// The sources of a partition of a map output, or why there are none.
    pub fn all(
        sources: Result<Vec<Box<dyn BlockSource>>, FailureCause>,
        origin: &Origin,
    ) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
        let sources = sources.map_err(|cause| origin.blamed(cause))?.into_iter();
        let blamed = sources.map(|source| Box::new(Self { source, origin: origin.clone() }) as _);
        Ok(blamed.collect())
    }
}

impl BlockSource for MapOutputSource {
    fn start(&mut self) {
        self.source.start();
    }

    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        self.source.next_block(block).map_err(|cause| self.origin.blamed(cause))
    }

    fn memory_bytes(&self) -> u64 {
        self.source.memory_bytes()
    }

    fn keeps_file_open(&self) -> bool {
        self.source.keeps_file_open()
    }

    fn position(&self, used: usize) -> Option<Position> {
        self.source.position(used)
    }

    fn seek(&mut self, position: &Position) {
        self.source.seek(position);
    }

    fn is_last(&self) -> bool {
        self.source.is_last()
    }

    fn promised(&self) -> Audit {
        self.source.promised()
    }

    fn blame(&self, message: String) -> FailureCause {
        self.origin.failed(self.source.blame(message).to_string())
    }
}
