//! The work of one attempt, on the threads of a pool: read, map, sort and write; or merge, reduce
//! and write.
//!
//! Nothing here is asynchronous or knows the coordinator. Loops check the attempt's cancellation
//! once for each chunk or batch.

use std::sync::Arc;

use windrow_jobs::program::Program;
use windrow_jobs::user_code::BadRecordPolicy;
use windrow_jobs::{AttemptId, FailureCause, PartKind};

use crate::files::TemporaryFile;
use crate::memory::{Account, Reservation};
use crate::model::{Finished, JobContext, Progress};
use crate::parts::{self, PartUpload, Unreported};
use crate::shuffle::source::{BlockSource, memory_bytes};
use crate::shuffle::spill::Scratch;
use crate::shuffle::store::{HeldSegment, SegmentStore};
use large_record_lock::{LargeRecordGuard, LargeRecordLock};

mod audit;
mod bad_records;
mod chunk;
mod cores;
mod dealer;
pub(crate) mod large_record_lock;
mod map;
mod map_loop;
mod map_only;
mod map_output;
mod ordered;
mod plan;
mod reduce;
mod units;

#[cfg(test)]
mod tests;

pub(crate) use cores::{CoreLease, Cores};
pub(crate) use map::run as map;
pub(crate) use reduce::run as reduce;

/// The resources of an attempt.
pub(crate) struct Attempt {
    /// The attempt.
    pub id: AttemptId,
    /// Its job, as submitted.
    pub context: Arc<JobContext>,
    /// Its job, as built.
    pub program: Arc<dyn Program>,
    /// How bad records are handled.
    pub bad_records: BadRecordPolicy,
    /// Read by the session.
    pub progress: Arc<Progress>,
    /// Where runs are spilled, and whether to go on.
    pub scratch: Scratch,
    /// Segments of all jobs; outputs in memory are evicted when memory is short.
    pub store: Arc<SegmentStore>,
    /// Whether its output is written to a file even where there is memory for it.
    pub outputs_on_disk: bool,
    /// Whether this is the only worker, so that its outputs are read in this process only.
    pub is_only_worker: bool,
    /// The job's memory.
    pub memory: Account,
    /// The part of it for pairs.
    pub pairs: Account,
    /// Threads of the pool that it runs on.
    pub threads: usize,
    /// Lets one of the job's threads at a time work on records that are too large for the usual
    /// buffers.
    pub large: Arc<LargeRecordLock>,
    /// The worker's cores: a thread takes one while it computes.
    pub cores: Arc<CoreLease>,
}

/// The result of an attempt that succeeded. Dropping it removes the files, so that an attempt that
/// ends too late leaves none.
pub(crate) struct Outcome {
    /// The report.
    pub finished: Finished,
    /// The segment or the part.
    pub left: Left,
    /// The file of the bad records that it skipped.
    pub bad_records: Option<Box<dyn Unreported>>,
}

impl Outcome {
    /// Keeps the files, and returns the report.
    pub fn keep(self) -> Finished {
        self.left.keep();
        if let Some(bad_records) = self.bad_records {
            bad_records.keep();
        }
        self.finished
    }
}

/// The output of an attempt. Dropping it removes the output, unless it is kept.
pub(crate) enum Left {
    /// A segment in a file.
    File(TemporaryFile),
    /// A part.
    Part(Box<dyn Unreported>),
    /// A segment in memory.
    Held(HeldSegment),
}

impl Left {
    /// Keeps the output.
    pub fn keep(self) {
        match self {
            Self::File(file) => file.keep(),
            Self::Part(part) => part.keep(),
            Self::Held(segment) => segment.keep(),
        }
    }
}

impl Attempt {
    /// An error once the attempt has been told to stop.
    pub fn check(&self) -> Result<(), FailureCause> {
        self.scratch.check()
    }

    /// Begins a file that the attempt reports.
    fn create(&self, kind: PartKind) -> Result<Box<dyn PartUpload>, FailureCause> {
        parts::store(&self.context.staging)?.create(self.id, kind)
    }

    /// Waits until no other thread of the job works on large records.
    fn enter_large(&self) -> Result<LargeRecordGuard<'_>, FailureCause> {
        self.large.enter(&self.scratch.cancel, || self.check())
    }

    /// Changes the reservation for pairs. If memory is short, segments in memory are written to
    /// disk, the largest first, before growth is refused.
    fn try_resize(&self, reservation: &mut Reservation, bytes: u64) -> bool {
        if reservation.try_resize(bytes) {
            return true;
        }
        // Evicting others' outputs does not help against the attempt's own limit.
        let growth = bytes.saturating_sub(reservation.bytes());
        reservation.account().has_room(growth)
            && self.store.evict_until(|| reservation.try_resize(bytes))
    }

    /// Reserves the memory for a merge of these sources.
    fn reserve_merge(&self, sources: &[Box<dyn BlockSource>]) -> Reservation {
        self.memory.reserve(memory_bytes(sources).min(self.scratch.merge_bytes))
    }

    /// Reserves memory for a merge of large pairs: all that it needs if there is room, else the
    /// free part of three quarters of the memory, less one pair, of which the reducer may keep a
    /// copy. Merging in two passes would write the pairs twice.
    fn reserve_large_merge(&self, sources: &[Box<dyn BlockSource>]) -> Reservation {
        let mut reservation = self.reserve_merge(sources);
        let largest = sources.iter().map(|source| source.memory_bytes()).max().unwrap_or(0);
        let most = (self.memory.limit_bytes() / 4 * 3).saturating_sub(largest);
        let mut wanted = memory_bytes(sources).min(most);
        while wanted > reservation.bytes() && !self.try_resize(&mut reservation, wanted) {
            wanted -= wanted.div_ceil(8);
        }
        reservation
    }
}
