//! The server's side of the shuffle: one partition of some of this worker's map outputs, merged, as
//! a stream of blocks.
//!
//! A reducer merges the streams of many workers, each of which serves many reducers, and it reads
//! its streams in the order of their keys: so any stream may stall for as long as any other does.
//! The protocol by which all of them make progress within bounded memory and bounded descriptors:
//!
//! ```text
//!   caller                                  sender
//!   request, credit  -------------------->  queued      holds nothing; says "waiting" while
//!                                                       others are served
//!                                           has a turn  sources are open, within the bounds
//!                                                       (admission.rs)
//!            <-------------------- blocks   while there is credit; 4 MiB in a turn if others wait
//!   credit, as blocks are used  --------->
//!                                           idle        no credit, no lease, or a slow network:
//!                                                       keeps its turn until it is wanted, and
//!                                                       then closes its sources and notes their
//!                                                       positions
//! ```
//!
//! - *No deadlock.* A stream with a turn either computes, which ends, or is idle, and then gives
//!   the turn up as soon as it is asked to. It never keeps a wanted turn while it waits for its
//!   caller, so no merge waits for the end of another.
//! - *Guaranteed progress.* Turns are granted in the order of the requests, and one is always
//!   granted if no stream has any. Each turn sends at least one block.
//! - *Sent bytes have room.* A caller gives credit for the memory that it has, and reads everything
//!   that arrives. So finished blocks leave this process at the pace of the network, not of a
//!   merge; until then they count for their sender.
//! - *Waiting does not time out.* "Waiting" is sent as long as this process makes any progress. If
//!   it does not, because a disk hangs, it falls silent, and the caller is right to look for the
//!   output elsewhere.
//!
//! A worker whose lease has expired may have been replaced: it refuses new streams, and open
//! streams wait.

pub(crate) mod admission;
mod blocks;
mod stream;
mod threads;

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use rustix::process::{Resource, getrlimit};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use windrow_jobs::WorkerId;
use windrow_proto::v1::FetchRequest;
use windrow_proto::v1::fetch_message::Message;

use self::admission::Admission;
use self::stream::Stream;
use self::threads::Threads;
use super::block::{HEADER_BYTES, RAW_BYTES_MAX};
use super::store::SegmentStore;
use crate::identity::Identity;
use crate::memory::Account;
use crate::model::Progress;
use crate::shuffle::transport::call::Credits;

/// Most map outputs that one stream merges; a caller that wants more opens more streams. So a
/// stream needs little memory and mostly no disk, and its first block comes soon.
pub const OUTPUTS_MAX: usize = 64;

/// Largest message: a block, and room for its framing.
pub const MESSAGE_BYTES_MAX: usize = RAW_BYTES_MAX + HEADER_BYTES + 64;

/// Bounds of the raw size of the blocks that are sent. Large blocks wake fewer threads; the largest
/// still fit into a core's cache on their way from the pairs to the socket.
pub const BLOCK_BYTES: RangeInclusive<u64> = 64 << 10..=512 << 10;

/// A block is at most one part in this many of the memory.
const BLOCK_MEMORY_PARTS: u64 = 1024;

/// Blocks that may wait for the transport.
const BLOCKS_WAITING: usize = 2;

/// Blocks that a stream has in memory: the waiting ones, the one that is being made, and the one
/// that is being sent.
const BLOCKS_HELD: u64 = BLOCKS_WAITING as u64 + 2;

/// Share of the process's memory for all streams together. Pairs have at most three quarters.
const MEMORY_PERCENT: u64 = 25;

/// One part in this many of the process's open files is for serving.
const FILES_PARTS: u64 = 4;

/// Marks the refusals of a worker whose lease has expired, in their details.
const NO_LEASE: &[u8] = b"lease";

/// The refusal of a worker that must not serve before its session is renewed; the caller should
/// retry.
pub fn no_lease() -> Status {
    let message = "its lease has expired; it serves again when its session is renewed";
    Status::with_details(Code::Unavailable, message, Bytes::from_static(NO_LEASE))
}

/// Whether this is [`no_lease`].
pub fn is_no_lease(status: &Status) -> bool {
    status.code() == Code::Unavailable && status.details() == NO_LEASE
}

/// Serves the segments of a store. Clones share the state.
#[derive(Clone)]
pub struct ShuffleService {
    store: Arc<SegmentStore>,
    identity: Arc<Identity>,
    memory: Account,
    admission: Admission,
    threads: Arc<Threads>,
    /// Counts every block, and every step of a merge.
    work: Arc<Progress>,
}

impl ShuffleService {
    /// Serves within a share of `memory` and of the files that this process may open.
    pub(crate) fn new(store: Arc<SegmentStore>, identity: Arc<Identity>, memory: Account) -> Self {
        let files_max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / FILES_PARTS;
        Self::within(store, identity, memory, usize::try_from(files_max).unwrap_or(usize::MAX))
    }

    /// Serves within a share of `memory`, and so many files.
    pub(crate) fn within(
        store: Arc<SegmentStore>,
        identity: Arc<Identity>,
        memory: Account,
        files_max: usize,
    ) -> Self {
        let admission = Admission::new(memory.share(MEMORY_PERCENT), files_max);
        let (threads, work) = Default::default();
        Self { store, identity, memory, admission, threads, work }
    }

    #[cfg(test)]
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The counter of all work done here.
    #[cfg(test)]
    pub(crate) fn work(&self) -> &Progress {
        &self.work
    }

    /// The answer to a request: blocks, and last the end or an error. Blocks are made as fast as
    /// they are taken, and credit is given.
    pub(crate) fn fetch(
        &self,
        request: FetchRequest,
        credits: Credits,
    ) -> Result<mpsc::Receiver<Message>, Status> {
        self.check(&request)?;
        if !self.identity.has_lease() {
            return Err(no_lease());
        }
        let (sender, receiver) = mpsc::channel(BLOCKS_WAITING);
        let cancel = CancellationToken::new();
        let stream = Stream::new(self.clone(), request, credits, sender, cancel.clone());
        tokio::spawn(async move {
            let _cancel_when_dropped = cancel.drop_guard();
            stream.run().await;
        });
        Ok(receiver)
    }

    /// Size of the blocks of a stream whose caller asks for so many bytes.
    fn block_bytes(&self, wanted_bytes: u32) -> u64 {
        let most_bytes = self.memory.limit_bytes() / BLOCK_MEMORY_PARTS;
        let (least, most) = BLOCK_BYTES.into_inner();
        u64::from(wanted_bytes).min(most_bytes).clamp(least, most)
    }

    fn check(&self, request: &FetchRequest) -> Result<(), Status> {
        let meant = WorkerId(request.worker);
        if !self.identity.is_of(&request.cluster, meant) {
            return Err(Status::failed_precondition(format!(
                "{meant} of cluster {} was meant, but this is {}",
                windrow_jobs::one_line(&request.cluster),
                self.identity.describe()
            )));
        }
        if request.outputs.len() > OUTPUTS_MAX {
            return Err(Status::invalid_argument(format!(
                "{} outputs were asked for, but a stream gives {OUTPUTS_MAX} at most",
                request.outputs.len()
            )));
        }
        Ok(())
    }
}
