//! What one attempt does, on the threads of a pool: read, map, sort and write; or merge, reduce and write.
//!
//! Nothing here is asynchronous, and nothing knows the coordinator. Loops look at the attempt's cancellation once
//! for each chunk or batch.

use std::sync::Arc;

use windrow_jobs::program::Program;
use windrow_jobs::{AttemptId, FailureCause};

use crate::executor::{CoreLease, Finished, JobContext, Progress};
use crate::files::TemporaryFile;
use crate::memory::{Account, Reservation};
use crate::shuffle::source::SOURCE_BYTES;
use crate::shuffle::spill::Scratch;

mod chunk;
mod map;
mod map_loop;
mod map_only;
mod map_output;
mod ordered;
mod output;
mod plan;
mod reduce;

#[cfg(test)]
mod tests;

pub(crate) use map::run as map;
pub(crate) use reduce::run as reduce;

/// All that an attempt works with.
pub(crate) struct Attempt {
    /// Its name.
    pub id: AttemptId,
    /// Its job, as submitted.
    pub context: Arc<JobContext>,
    /// Its job, as built.
    pub program: Arc<dyn Program>,
    /// Read by the session.
    pub progress: Arc<Progress>,
    /// Where runs are spilled, and whether to go on.
    pub scratch: Scratch,
    /// The job's memory.
    pub memory: Account,
    /// Threads of the pool that it runs on.
    pub threads: usize,
    /// The worker's cores: a thread takes one while it computes.
    pub cores: Arc<CoreLease>,
}

/// What an attempt that succeeded has made. The file goes when this is dropped, so that one that comes too late
/// leaves nothing.
pub(crate) struct Outcome {
    /// The report.
    pub finished: Finished,
    /// The segment or the part.
    pub file: TemporaryFile,
}

impl Attempt {
    /// An error once the attempt has been told to stop.
    pub fn check(&self) -> Result<(), FailureCause> {
        self.scratch.check()
    }

    /// Counts the memory of a merge of this many sources: no more are open at once than the fan-in allows.
    fn reserve_merge(&self, sources: usize) -> Reservation {
        self.memory.reserve(sources.min(self.scratch.fan_in) as u64 * SOURCE_BYTES)
    }
}
