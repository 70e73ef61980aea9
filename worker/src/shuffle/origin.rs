//! Whose output a source reads: what goes wrong with it is blamed on the map attempt that made it.

use std::path::PathBuf;

use windrow_jobs::{FailureCause, WorkerId};

use super::block::Block;
use super::segment::SegmentSource;
use super::source::BlockSource;

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
}

/// One partition of one map output, read from its file.
pub struct MapOutputSource {
    segment: SegmentSource,
    origin: Origin,
}

impl MapOutputSource {
    /// A partition of the segment at `path`.
    pub fn new(path: PathBuf, partition: u32, origin: Origin) -> Self {
        Self { segment: SegmentSource::new(path, partition), origin }
    }
}

impl BlockSource for MapOutputSource {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        self.segment.next_block(block).map_err(|cause| self.origin.failed(cause.to_string()))
    }

    fn is_last(&self) -> bool {
        self.segment.is_last()
    }
}
