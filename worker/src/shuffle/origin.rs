//! Whose output a source reads: what is wrong with it is blamed on the map attempt that made it,
//! and the map is done again.
//!
//! What the reader wants for itself (descriptors, memory, room, rights) is nobody's fault but its
//! machine's: it fails the reader's own attempt, and no good output is made anew for it. Sources
//! tell the two apart: the first is `Corrupt`, the second `Io`.

use windrow_jobs::{Audit, FailureCause, WorkerId};

use super::block::Block;
use super::source::{BlockSource, Position};

/// One output of a map task, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Number of the map task.
    pub map_task: u32,
    /// Which attempt of it.
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

    /// The failure of a reducer whose source has failed so.
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
