//! Fetches from real servers over an in-memory transport, and from servers that misbehave.

mod blame;
mod crowd;
mod leases;
mod places;
mod streams;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status};
use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::{Audit, FailureCause, JobId, JobIdentity, StageId, WorkerId};
use windrow_proto::v1::fetch_message::Message;
use windrow_proto::v1::shuffle_server::{Shuffle, ShuffleServer};
use windrow_proto::v1::{FetchCall, FetchEnd, FetchMessage};

use super::*;
use crate::memory::Account;
use crate::shuffle::ShuffleService;
use crate::shuffle::block::{BlockBuilder, Codec};
use crate::shuffle::merge::Merge;
use crate::shuffle::merge::tests::{Pair, drain};
use crate::shuffle::pairs::SortedBuffer;
use crate::shuffle::segment::{MemorySegment, SegmentWriter};
use crate::shuffle::transport::ShuffleTls;
use crate::shuffle::transport::call::FetchServer;
use crate::testing::{IDENTITY, audit, connect, leave_output, owner};
use windrow_jobs::pairs::{RecordRef, RecordSink};

pub(super) const PEER: WorkerId = WorkerId(5);
pub(super) const ADDRESS: &str = "peer:1";
const CLUSTER: &str = "c";

pub(super) fn in_an_hour() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

pub(super) fn identity(worker: WorkerId) -> Arc<Identity> {
    let identity = Arc::new(Identity::default());
    identity.set(CLUSTER, worker, in_an_hour());
    identity
}

/// A worker that fetches, alone in its folder.
pub(super) struct Client {
    pub(super) fetcher: Fetcher,
    cancel: CancellationToken,
    pub(super) memory: Account,
    _folder: tempfile::TempDir,
}

impl Client {
    /// A client whose timeouts are long enough for a slow machine.
    pub(super) fn new() -> Self {
        Self::with_patience(Duration::from_secs(20))
    }

    fn impatient() -> Self {
        Self::with_patience(Duration::from_millis(100))
    }

    fn with_patience(stall: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let timeouts = FetchTimeouts { connect: Duration::from_secs(5), stall };
        let fetcher = Fetcher {
            identity: Arc::default(),
            host: "here".into(),
            store: Arc::new(SegmentStore::new(folder.path().into(), 0)),
            peers: Arc::new(Peers::new(ShuffleTls::Off, timeouts.connect)),
            timeouts,
            threads: 2,
        };
        fetcher.identity.set(CLUSTER, WorkerId(1), in_an_hour());
        Self {
            fetcher,
            cancel: CancellationToken::new(),
            memory: Account::new(1 << 30),
            _folder: folder,
        }
    }

    /// All pairs of partition 3 of these outputs.
    pub(super) async fn fetch(&self, outputs: &[WorkerOutputs]) -> Result<Vec<Pair>, FailureCause> {
        self.fetch_of(IDENTITY, outputs).await
    }

    async fn fetch_of(
        &self,
        identity: JobIdentity,
        outputs: &[WorkerOutputs],
    ) -> Result<Vec<Pair>, FailureCause> {
        let sources = self.fetcher.sources(&FetchPlan {
            job: JobId(1),
            identity,
            partition: 3,
            outputs,
            streams: Streams::Shared,
            runtime: Handle::current(),
            cancel: self.cancel.clone(),
            compression: None,
            memory: self.memory.clone(),
        })?;
        let merged = tokio::task::spawn_blocking(|| drain(&mut Merge::new(sources)));
        merged.await.unwrap()
    }
}

/// Another worker, on another host, with outputs of `tasks` map tasks.
struct Peer {
    store: Arc<SegmentStore>,
    folder: tempfile::TempDir,
    pairs: Vec<Pair>,
}

impl Peer {
    fn new(tasks: u32, pairs_each: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SegmentStore::new(folder.path().into(), 0));
        let mut all = Vec::new();
        for task in 0..tasks {
            let pair = |n: u32| ((n * 7).to_be_bytes().to_vec(), task.to_be_bytes().repeat(8));
            let pairs: Vec<Pair> = (0..pairs_each).map(pair).collect();
            leave_output(&store, task, 3, &pairs);
            all.extend(pairs);
        }
        all.sort();
        Self { store, folder, pairs: all }
    }

    fn service(&self) -> FetchServer {
        self.service_of(&identity(PEER))
    }

    fn service_of(&self, identity: &Arc<Identity>) -> FetchServer {
        let memory = Account::new(1 << 30);
        FetchServer::new(ShuffleService::new(Arc::clone(&self.store), Arc::clone(identity), memory))
    }

    fn segment(&self, task: u32) -> std::path::PathBuf {
        self.store.segment_path(JobId(1), task, 1)
    }

    fn outputs(&self, tasks: u32, host: &str) -> WorkerOutputs {
        outputs(self.folder.path(), tasks, host)
    }
}

pub(super) fn outputs(directory: &Path, tasks: u32, host: &str) -> WorkerOutputs {
    WorkerOutputs {
        worker: PEER,
        shuffle_address: ADDRESS.into(),
        host: host.into(),
        directory: directory.into(),
        outputs: (0..tasks).map(|task| (task, 1)).collect(),
    }
}

pub(super) fn blamed(failure: FailureCause) -> (u32, String) {
    match failure {
        FailureCause::FetchFailed { map_task, map_attempt: 1, worker: PEER, message } => {
            (map_task, message)
        }
        other => panic!("{other}"),
    }
}

/// A server that sends these messages, and then ends or hangs.
struct Scripted {
    /// For the first call, the second and so on; the last list serves all further calls.
    messages: Vec<Vec<Message>>,
    ends: bool,
    calls: AtomicUsize,
}

impl Scripted {
    fn new(messages: Vec<Vec<Message>>) -> Self {
        Self { messages, ends: true, calls: AtomicUsize::new(0) }
    }
}

#[tonic::async_trait]
impl Shuffle for Scripted {
    type FetchStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<FetchMessage, Status>> + Send>>;

    async fn fetch(
        &self,
        _calls: Request<tonic::Streaming<FetchCall>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed).min(self.messages.len() - 1);
        let messages = self.messages[call].clone().into_iter();
        let sent = tokio_stream::iter(messages.map(|m| Ok(FetchMessage { message: Some(m) })));
        Ok(Response::new(if self.ends {
            Box::pin(sent)
        } else {
            Box::pin(sent.chain(tokio_stream::pending()))
        }))
    }
}

fn block() -> Message {
    let mut builder = BlockBuilder::new(Codec::Lz4, 1 << 10);
    assert!(builder.push(RecordRef { key: b"key", value: b"value" }).unwrap());
    builder.finish();
    Message::Block(builder.take().into())
}

async fn fetch_scripted(client: &Client, scripted: Scripted) -> Result<Vec<Pair>, FailureCause> {
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(ShuffleServer::new(scripted)));
    client.fetch(&[outputs(Path::new("/nonexistent"), 2, "elsewhere")]).await
}
