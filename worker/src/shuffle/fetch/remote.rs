//! A source that another worker streams.
//!
//! A task on the runtime receives and enforces the timeouts; the reducer's thread takes blocks from
//! a queue. Each taken block is credit for the sender, which sends nothing without credit (see
//! `shuffle::serve`). So there is always room for the bytes that arrive, and a reducer that reads
//! from another stream never blocks the connection.
//!
//! A sender that is busy with others says so, and is waited for. A sender that lacks a resource is
//! asked again for a while. A worker whose lease has expired says so, and is asked again after a
//! pause: mostly its coordinator is gone, and comes back.
//!
//! A stream that breaks off, or brings wrong data, is opened once more. Its pairs come in the same
//! order again, so the pairs that were used are skipped.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use windrow_jobs::{Audit, Compression, FailureCause, JobIdentity};
use windrow_proto::v1::fetch_message::Message;
use windrow_proto::v1::{FetchEnd, FetchError, FetchMessage, FetchRequest, MapOutput};

use super::FetchTimeouts;
use crate::files::is_exhausted;
use crate::identity::Identity;
use crate::memory::{Account, Reservation};
use crate::shuffle::block::Block;
use crate::shuffle::origin::Origin;
use crate::shuffle::serve::{BLOCK_BYTES, is_no_lease};
use crate::shuffle::source::BlockSource;
use crate::shuffle::transport::call::FetchStream;
use crate::shuffle::transport::peers::{Peer, Peers};
use crate::wire::compression_to;

/// Pause before a worker is asked again whose lease has expired, or that lacks a resource.
const PAUSE: Duration = Duration::from_millis(200);

/// How many blocks fit into the credit, so that some are on their way while one is being used.
const BLOCKS_PER_CREDIT: u64 = 4;

/// Most blocks that may come without credit: a sender that gives up its turn sends the blocks that
/// it has begun.
const BLOCKS_BEYOND_CREDIT_MAX: u32 = 64;

/// A request for a stream.
#[derive(Clone)]
pub(crate) struct Stream {
    /// This worker's identity.
    pub identity: Arc<Identity>,
    /// The connections.
    pub peers: Arc<Peers>,
    /// The address of the other worker.
    pub address: String,
    /// The first output: it stands for the worker when no single output is to blame.
    pub origin: Origin,
    /// The job.
    pub job: JobIdentity,
    /// The partition.
    pub partition: u32,
    /// Task and attempt of each output.
    pub outputs: Vec<(u32, u32)>,
    /// Most bytes that may be on their way or wait for the reducer, together.
    pub credit_bytes: u64,
    /// The job's choice.
    pub compression: Option<Compression>,
    /// Whether the other worker runs on this machine.
    pub same_machine: bool,
    /// How long to wait.
    pub timeouts: FetchTimeouts,
    /// The runtime that receives.
    pub runtime: Handle,
    /// Ends the stream.
    pub cancel: CancellationToken,
    /// Accounts for its buffers.
    pub memory: Account,
}

enum Event {
    Block(Bytes),
    /// Everything has been sent; this is the audit of all pairs.
    End(Audit),
    /// The connection has failed, which may be transient.
    Broken(FailureCause),
    /// The connection failed while this worker had no lease; now it has one.
    Interrupted(FailureCause),
    /// The sender lacks a resource, and may be asked again now.
    Short(FailureCause),
}

/// The pairs of one stream.
pub struct RemoteSource {
    stream: Stream,
    events: Option<mpsc::UnboundedReceiver<Result<Event, FailureCause>>>,
    /// Takes the number of used bytes, now and then.
    used: Option<mpsc::UnboundedSender<u64>>,
    /// Used bytes that were not reported yet.
    used_bytes: u64,
    /// Pairs that have been handed out.
    records: u64,
    /// Of these, pairs that the second stream will send again.
    skip: u64,
    is_second: bool,
    /// Since when the sender has lacked a resource and sent nothing.
    short_since: Option<Instant>,
    /// The sender's audit, once it is known.
    promised: Option<Audit>,
    /// Held from the start to the end.
    reservation: Option<Reservation>,
}

impl RemoteSource {
    /// A source that opens its stream when it is started.
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            events: None,
            used: None,
            used_bytes: 0,
            records: 0,
            skip: 0,
            is_second: false,
            short_since: None,
            promised: None,
            reservation: None,
        }
    }

    /// Receives the next block or the end; returns whether it was a block. A fault is transient or
    /// permanent.
    fn receive(&mut self, block: &mut Block) -> Result<bool, Fault> {
        self.start();
        let origin = &self.stream.origin;
        match self.events.as_mut().and_then(mpsc::UnboundedReceiver::blocking_recv) {
            Some(Ok(Event::Block(bytes))) => {
                self.used_bytes += bytes.len() as u64;
                self.short_since = None;
                let decoded = block.decode_bytes(bytes);
                decoded.map_err(|error| Fault::Passing(origin.failed(error.to_string())))?;
                let skipped = self.skip.min(block.len() as u64);
                block.skip(skipped as usize);
                self.skip -= skipped;
                self.records += block.len() as u64;
                self.give_credit();
                Ok(true)
            }
            Some(Ok(Event::End(promised))) => {
                let arrived = self.records - self.skip;
                if arrived != promised.records {
                    let message = format!("{arrived} of {} pairs arrived", promised.records);
                    return Err(Fault::Passing(origin.failed(message)));
                }
                self.promised = Some(promised);
                self.reservation = None;
                Ok(false)
            }
            Some(Ok(Event::Broken(cause))) => Err(Fault::Passing(cause)),
            Some(Ok(Event::Interrupted(cause))) => Err(Fault::Own(cause)),
            Some(Ok(Event::Short(cause))) => {
                let since = *self.short_since.get_or_insert_with(Instant::now);
                let is_over = since.elapsed() >= self.stream.timeouts.stall;
                Err(if is_over { Fault::Lasting(cause) } else { Fault::Own(cause) })
            }
            Some(Err(cause)) => Err(Fault::Lasting(cause)),
            None if self.stream.cancel.is_cancelled() => {
                Err(Fault::Lasting(FailureCause::Cancelled))
            }
            None => Err(Fault::Lasting(origin.failed("the stream was abandoned"))),
        }
    }

    /// Abandons the stream, and opens another from the first pair on.
    fn open_again(&mut self) {
        self.skip = self.records;
        (self.events, self.used, self.used_bytes) = (None, None, 0);
    }

    /// Sends few messages, each for many bytes: the sender uses the rest of its credit meanwhile.
    fn give_credit(&mut self) {
        if self.used_bytes >= self.stream.block_bytes()
            && let Some(used) = &self.used
        {
            // A stream that has ended needs no credit.
            let _ = used.send(std::mem::take(&mut self.used_bytes));
        }
    }
}

impl BlockSource for RemoteSource {
    fn start(&mut self) {
        if self.events.is_none() {
            let (sender, receiver) = mpsc::unbounded_channel();
            let (used, credit) = mpsc::unbounded_channel();
            self.stream.runtime.spawn(self.stream.clone().run(sender, credit));
            (self.events, self.used) = (Some(receiver), Some(used));
            self.reservation = Some(self.stream.memory.reserve(self.stream.held_bytes()));
        }
    }

    fn next_block(&mut self, block: &mut Block) -> Result<bool, FailureCause> {
        block.clear();
        if self.promised.is_some() {
            return Ok(false);
        }
        loop {
            let cause = match self.receive(block) {
                Ok(found) => return Ok(found),
                Err(Fault::Own(cause)) => cause,
                Err(Fault::Passing(cause)) if !self.is_second => {
                    self.is_second = true;
                    cause
                }
                Err(Fault::Passing(cause) | Fault::Lasting(cause)) => return Err(cause),
            };
            tracing::warn!(%cause, "fetching a partition once more");
            self.open_again();
        }
    }

    fn is_last(&self) -> bool {
        self.promised.is_some()
    }

    fn promised(&self) -> Audit {
        self.promised.unwrap_or_default()
    }

    fn blame(&self, message: String) -> FailureCause {
        self.stream.origin.failed(message)
    }
}

/// The credit that the sender has, as far as it knows.
struct Credit {
    bytes: i64,
    blocks_beyond: u32,
}

impl Credit {
    fn new(bytes: u64) -> Self {
        let mut this = Self { bytes: 0, blocks_beyond: 0 };
        this.add(bytes);
        this
    }

    fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn is_given(&self) -> bool {
        self.bytes > 0
    }

    /// Uses credit for a block; `false` if it is one block too many.
    fn take(&mut self, block_bytes: usize) -> bool {
        self.blocks_beyond = if self.is_given() { 0 } else { self.blocks_beyond + 1 };
        self.bytes = self.bytes.saturating_sub(block_bytes as i64);
        self.blocks_beyond <= BLOCKS_BEYOND_CREDIT_MAX
    }
}

/// Why a stream is incomplete.
enum Fault {
    /// Nobody is to blame: this worker itself was cut off, as far as it knows, or the other one
    /// lacks a resource.
    Own(FailureCause),
    /// Another try may succeed.
    Passing(FailureCause),
    Lasting(FailureCause),
}

impl Stream {
    /// Most bytes that it holds, unless single pairs are large: the credit, one block more, and the
    /// block that is being decoded.
    fn held_bytes(&self) -> u64 {
        self.credit_bytes + 2 * self.block_bytes()
    }

    /// Size of the blocks to ask for.
    fn block_bytes(&self) -> u64 {
        (self.credit_bytes / BLOCKS_PER_CREDIT).clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end())
    }

    /// Receives until the end, an error, cancellation, or the end of the reducer.
    async fn run(
        self,
        sender: mpsc::UnboundedSender<Result<Event, FailureCause>>,
        used: mpsc::UnboundedReceiver<u64>,
    ) {
        let received = tokio::select! {
            received = self.receive(&sender, used) => received,
            () = self.cancel.cancelled() => return,
            () = sender.closed() => return,
        };
        if let Err(cause) = received {
            // If the reducer is gone, nobody needs the error.
            let _ = sender.send(Err(cause));
        }
    }

    async fn receive(
        &self,
        sender: &mpsc::UnboundedSender<Result<Event, FailureCause>>,
        mut used: mpsc::UnboundedReceiver<u64>,
    ) -> Result<(), FailureCause> {
        let FetchTimeouts { connect, stall } = self.timeouts;
        let peer = self.peers.peer(&self.address, self.job);
        let peer = peer.map_err(|error| self.refused(&error))?;
        let mut messages = self.within(connect + stall, self.open(&peer)).await??;
        let mut credit = Credit::new(self.credit_bytes);
        loop {
            let received = tokio::select! {
                used = used.recv() => {
                    let Some(bytes) = used else { return Ok(()) };
                    messages.give_credit(bytes);
                    credit.add(bytes);
                    continue;
                }
                received = self.next(&mut messages, &credit) => received?,
            };
            let event = match received {
                Ok(Some(FetchMessage { message: Some(Message::Waiting(_)) })) => continue,
                Ok(Some(FetchMessage { message: Some(Message::Block(block)) })) => {
                    if !credit.take(block.len()) {
                        return Err(self.origin.failed("it sends more than its credit"));
                    }
                    Event::Block(block)
                }
                Ok(Some(FetchMessage { message: Some(Message::End(end)) })) => {
                    let FetchEnd { records, digest } = end;
                    Event::End(Audit { records, digest })
                }
                Ok(Some(FetchMessage { message: Some(Message::Error(error)) })) => {
                    if !error.is_shortage {
                        return Err(self.reported(error));
                    }
                    sleep(PAUSE).await;
                    Event::Short(self.reported(error))
                }
                Ok(Some(FetchMessage { message: None })) => {
                    return Err(self.origin.failed("an unknown message arrived"));
                }
                Ok(None) => {
                    self.broken(&peer, self.origin.failed("the stream was cut short")).await
                }
                Err(status) => self.broken(&peer, self.refused(&status)).await,
            };
            let is_last = !matches!(event, Event::Block(_));
            // If the reducer is gone, nobody needs the event.
            if sender.send(Ok(event)).is_err() || is_last {
                return Ok(());
            }
        }
    }

    /// The next message. The wait for the reducer to make room is unlimited; only the wait for the
    /// sender is limited. Cancel safe.
    async fn next(
        &self,
        messages: &mut FetchStream,
        credit: &Credit,
    ) -> Result<Result<Option<FetchMessage>, Status>, FailureCause> {
        match credit.is_given() {
            true => self.within(self.timeouts.stall, messages.next()).await,
            false => Ok(messages.next().await),
        }
    }

    /// Retries until the worker has a lease.
    async fn open(&self, peer: &Peer) -> Result<FetchStream, FailureCause> {
        let request = self.request();
        loop {
            let answer = FetchStream::open(peer.channel.clone(), request.clone());
            match self.within(self.timeouts.connect, answer).await? {
                Ok(messages) => return Ok(messages),
                Err(status) if is_no_lease(&status) => sleep(PAUSE).await,
                // A worker that is cut off from the coordinator may be cut off from all others,
                // too.
                Err(_) if !self.identity.has_lease() => self.identity.leased().await,
                Err(status) => return Err(self.refused(&status)),
            }
        }
    }

    /// The event for a failed connection, after the pause that it takes.
    async fn broken(&self, peer: &Peer, cause: FailureCause) -> Event {
        self.peers.avoid(&self.address, self.job, peer);
        if self.identity.has_lease() {
            return Event::Broken(cause);
        }
        self.identity.leased().await;
        Event::Interrupted(cause)
    }

    /// Waits for an answer, but no longer than `limit` while this worker has a lease.
    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, FailureCause> {
        tokio::pin!(answer);
        loop {
            match timeout(limit, &mut answer).await {
                Ok(answer) => return Ok(answer),
                Err(_) if self.identity.has_lease() => return Err(self.late(limit)),
                Err(_) => tokio::select! {
                    answer = &mut answer => return Ok(answer),
                    () = self.identity.leased() => {}
                },
            }
        }
    }

    fn late(&self, limit: Duration) -> FailureCause {
        let seconds = limit.as_secs_f64();
        self.origin.failed(format!("no answer from {} within {seconds:.1} s", self.address))
    }

    fn request(&self) -> FetchRequest {
        FetchRequest {
            worker: self.origin.worker.0,
            cluster: self.identity.cluster(),
            job: self.job.to_bytes().to_vec().into(),
            partition: self.partition,
            compression: compression_to(self.compression).into(),
            same_machine: self.same_machine,
            block_bytes: self.block_bytes() as u32,
            credit_bytes: self.credit_bytes,
            silence_ms: u32::try_from(self.timeouts.stall.as_millis()).unwrap_or(u32::MAX),
            outputs: self
                .outputs
                .iter()
                .map(|(task, attempt)| MapOutput { task: *task, attempt: *attempt })
                .collect(),
        }
    }

    /// The sender names one output; an output that was not asked for cannot be to blame.
    fn reported(&self, error: FetchError) -> FailureCause {
        let FetchError { map_task, map_attempt, message, .. } = error;
        let was_asked_for = self.outputs.contains(&(map_task, map_attempt));
        let worker = self.origin.worker;
        let origin = if was_asked_for {
            Origin { map_task, map_attempt, worker }
        } else {
            self.origin.clone()
        };
        origin.failed(message)
    }

    /// The failure of a call or a connection: the other worker's, unless this process has run out
    /// of a resource itself.
    fn refused(&self, error: &dyn std::error::Error) -> FailureCause {
        let mut message = format!("{}: {error}", self.address);
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(own) = cause.downcast_ref::<io::Error>().filter(|own| is_exhausted(own)) {
                return FailureCause::io(format!("a connection to {}", self.address), own);
            }
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        self.origin.failed(message)
    }
}
