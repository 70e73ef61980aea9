//! The server's side of the shuffle: one partition of some of this worker's map outputs, merged, as a stream of
//! blocks.
//!
//! Each block is made on a thread for blocking work once the caller has room for it; between blocks a stream
//! holds no thread, so that many slow callers harm nobody.
//!
//! A worker whose lease has run out may have been replaced: it refuses new streams, and those that are open wait.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use windrow_jobs::fan_in::merge_bytes;
use windrow_jobs::program::RecordBatches;
use windrow_jobs::{Audit, FailureCause, JobId, WorkerId};
use windrow_proto::v1::fetch_message::Message;
use windrow_proto::v1::{FetchEnd, FetchError, FetchRequest};

use super::block::{BlockBuilder, Codec, HEADER_BYTES, RAW_BYTES_MAX};
use super::merge::Merge;
use super::origin::{MapOutputSource, Origin};
use super::source::{BlockSource, memory_bytes};
use super::spill::Scratch;
use super::store::SegmentStore;
use crate::identity::Identity;
use crate::memory::{Account, Reservation};
use crate::rpc::convert::compression_from;

/// Most map outputs that one stream merges; a caller that wants more opens more streams. So a stream needs
/// little memory and mostly no disk, and its first block comes soon.
pub const OUTPUTS_MAX: usize = 64;

/// Most sorted runs that one stream merges at once. Outputs that have more together are merged on disk first.
const FAN_IN: u32 = 256;

/// Largest message: a block, and room for what goes around it.
pub const MESSAGE_BYTES_MAX: usize = RAW_BYTES_MAX + HEADER_BYTES + 64;

/// Bounds of the raw size of the blocks that are sent. Large ones wake fewer threads; the largest stay in a core's cache
/// on their way from the pairs to the socket.
pub const BLOCK_BYTES: RangeInclusive<u64> = 64 << 10..=512 << 10;

/// A block is at most one part in this many of the memory.
const BLOCK_MEMORY_PARTS: u64 = 1024;

/// Blocks that wait for the transport.
const BLOCKS_WAITING: usize = 2;

/// Blocks that a stream has in memory: those, the one that is being made, and the one that is being sent.
const BLOCKS_HELD: u64 = BLOCKS_WAITING as u64 + 2;

/// Marks the refusals of a worker whose lease has run out, in their details.
const NO_LEASE: &[u8] = b"lease";

/// The refusal of a worker that may not serve before its session is renewed: it is worth trying again.
pub fn no_lease() -> Status {
    let message = "its lease has run out; it serves again when its session is renewed";
    Status::with_details(Code::Unavailable, message, Bytes::from_static(NO_LEASE))
}

/// Whether this is [`no_lease`].
pub fn is_no_lease(status: &Status) -> bool {
    status.code() == Code::Unavailable && status.details() == NO_LEASE
}

/// Serves the segments of a store. Clones serve the same.
#[derive(Clone)]
pub struct ShuffleService {
    store: Arc<SegmentStore>,
    identity: Arc<Identity>,
    memory: Account,
}

impl ShuffleService {
    pub(crate) fn new(store: Arc<SegmentStore>, identity: Arc<Identity>, memory: Account) -> Self {
        Self { store, identity, memory }
    }

    /// What answers a request: blocks, and the end or an error last. Made as fast as they are taken.
    pub fn fetch(&self, request: FetchRequest) -> Result<mpsc::Receiver<Message>, Status> {
        self.check(&request)?;
        if !self.identity.has_lease() {
            return Err(no_lease());
        }
        let (sender, receiver) = mpsc::channel(BLOCKS_WAITING);
        tokio::spawn(send(self.clone(), request, sender));
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
                request.cluster.escape_debug(),
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

    fn blocks(&self, request: FetchRequest) -> Blocks {
        let choice = compression_from(request.compression());
        let codec = if request.same_machine {
            Codec::on_this_machine(choice)
        } else {
            Codec::between_machines(choice)
        };
        let block_bytes = self.block_bytes(request.block_bytes);
        Blocks {
            opening: Some((self.clone(), request)),
            merge: Merge::new(Vec::new()),
            builder: BlockBuilder::new(codec, block_bytes as usize),
            block_bytes,
            ready: VecDeque::new(),
            cancel: CancellationToken::new(),
            reservation: self.memory.reserve(0),
        }
    }

    /// All sources of a request, whichever outputs have runs of the partition.
    fn sources(&self, request: &FetchRequest) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
        let worker = WorkerId(request.worker);
        let mut sources = Vec::new();
        for output in &request.outputs {
            let origin = Origin { map_task: output.task, map_attempt: output.attempt, worker };
            let output = (output.task, output.attempt);
            let found = self.store.sources(JobId(request.job), output, request.partition);
            sources.extend(MapOutputSource::all(found, &origin)?);
        }
        Ok(sources)
    }
}

/// Sends blocks as fast as they are taken, until the end, an error, or the caller's leaving. Waits while the worker has no
/// lease, and ends if it gets another name.
async fn send(service: ShuffleService, request: FetchRequest, sender: mpsc::Sender<Message>) {
    let mut blocks = service.blocks(request.clone());
    let _cancel_when_dropped = blocks.cancel.clone().drop_guard();
    loop {
        let Ok(permit) = sender.reserve().await else { return };
        tokio::select! {
            () = service.identity.leased() => {}
            () = sender.closed() => return,
        }
        if let Err(refusal) = service.check(&request) {
            let message = refusal.message().to_string();
            return permit.send(Message::Error(FetchError { message, ..Default::default() }));
        }
        let made = tokio::task::spawn_blocking(move || {
            let message = blocks.next_message();
            (blocks, message)
        });
        let made = tokio::select! {
            made = made => made,
            () = sender.closed() => return,
        };
        // A panic leaves the stream without its end, which the caller notices.
        let Ok((rest, message)) = made else { return };
        blocks = rest;
        let is_last = !matches!(message, Message::Block(_));
        permit.send(message);
        if is_last {
            return;
        }
    }
}

fn finish(builder: &mut BlockBuilder) -> Bytes {
    builder.finish();
    builder.take().into()
}

/// The merged pairs, cut into blocks.
struct Blocks {
    /// What to serve, until the first block is made: files are opened there, where waiting is allowed.
    opening: Option<(ShuffleService, FetchRequest)>,
    merge: Merge<'static>,
    builder: BlockBuilder,
    block_bytes: u64,
    ready: VecDeque<Bytes>,
    /// Fires when the caller has left.
    cancel: CancellationToken,
    reservation: Reservation,
}

impl Blocks {
    fn next_message(&mut self) -> Message {
        match self.next_block() {
            Ok(Some(block)) => Message::Block(block),
            // What the outputs promise, not what was sent: the caller compares it with what has arrived.
            Ok(None) => {
                let Audit { records, digest } = self.merge.promised();
                Message::End(FetchEnd { records, digest })
            }
            Err(FailureCause::FetchFailed { map_task, map_attempt, message, .. }) => {
                Message::Error(FetchError { map_task, map_attempt, message })
            }
            // All sources name their origin, so this is a pair that fits no block, or a full disk: no output is to
            // blame.
            Err(cause) => {
                Message::Error(FetchError { message: cause.to_string(), ..Default::default() })
            }
        }
    }

    fn next_block(&mut self) -> Result<Option<Bytes>, FailureCause> {
        self.open()?;
        while self.ready.is_empty() {
            let Some(batch) = self.merge.next_batch()? else {
                return Ok((!self.builder.is_empty()).then(|| finish(&mut self.builder)));
            };
            for record in batch {
                while !self.builder.push(*record)? {
                    self.ready.push_back(finish(&mut self.builder));
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    fn open(&mut self) -> Result<(), FailureCause> {
        if let Some((service, request)) = self.opening.take() {
            let sources = service.sources(&request)?;
            let merge_bytes = merge_bytes(FAN_IN);
            let open = memory_bytes(&sources).min(merge_bytes);
            self.reservation.resize(open + BLOCKS_HELD * self.block_bytes);
            if sources.is_empty() {
                return Ok(());
            }
            let scratch = Scratch {
                folder: service.store.folder(JobId(request.job))?,
                cancel: self.cancel.clone(),
                progress: Arc::default(),
                merge_bytes,
                codec: Codec::on_this_machine(compression_from(request.compression())),
            };
            self.merge = scratch.merge(sources)?;
        }
        Ok(())
    }
}
