//! Fetching, from real servers over an in-memory transport, and from servers that misbehave.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status};
use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::{Audit, FailureCause, JobId, JobIdentity, Stage, WorkerId};
use windrow_proto::v1::fetch_message::Message;
use windrow_proto::v1::shuffle_server::{Shuffle, ShuffleServer};
use windrow_proto::v1::{FetchCall, FetchEnd, FetchMessage};

use super::*;
use crate::memory::Account;
use crate::rpc::ShuffleTls;
use crate::rpc::fetch::FetchServer;
use crate::shuffle::ShuffleService;
use crate::shuffle::block::{BlockBuilder, Codec};
use crate::shuffle::merge::Merge;
use crate::shuffle::merge::tests::{Pair, drain};
use crate::shuffle::pairs::SortedBuffer;
use crate::shuffle::segment::{MemorySegment, SegmentWriter};
use crate::testing::{IDENTITY, audit, connect, leave_output, owner};
use windrow_jobs::program::{RecordRef, RecordSink};

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
    /// One that gives nobody up because this machine is slow.
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

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_another_host_are_streamed_merged() {
    // More outputs than one stream gives, and more pairs than one block holds.
    let (client, peer) = (Client::new(), Peer::new(70, 1000));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let fetched = client.fetch(&[peer.outputs(70, "elsewhere")]).await.unwrap();
    assert!(fetched == peer.pairs, "{} of {} pairs", fetched.len(), peer.pairs.len());
    assert_eq!(client.memory.used_bytes(), 0, "all memory is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_the_same_host_are_read_directly() {
    let (client, peer) = (Client::new(), Peer::new(3, 100));
    // Nobody listens at the address.
    assert_eq!(client.fetch(&[peer.outputs(3, "here")]).await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_cannot_be_seen_on_the_same_host_are_streamed() {
    let (client, peer) = (Client::new(), Peer::new(3, 100));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let hidden = outputs(Path::new("/nonexistent"), 3, "here");
    assert_eq!(client.fetch(&[hidden]).await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_may_not_be_opened_on_the_same_host_are_streamed() {
    let (client, peer) = (Client::new(), Peer::new(3, 100));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let folder = tempfile::tempdir().unwrap();
    // A socket is there, and cannot be opened by anybody.
    let path = segment_path(folder.path(), JobId(1), 0, 1);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path).unwrap();
    let closed = outputs(folder.path(), 3, "here");
    assert_eq!(client.fetch(&[closed]).await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_same_host_files_are_read_directly_and_what_is_in_memory_is_streamed() {
    let (client, mut peer) = (Client::new(), Peer::new(2, 50));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let pairs: Vec<Pair> = vec![(vec![0], vec![1]), (vec![0xff], vec![2])];
    let mut buffer = RecordBuffer::new(8);
    for (key, value) in &pairs {
        crate::testing::push(&mut buffer, 3, key, value);
    }
    let account = Account::new(1 << 20);
    let segment = MemorySegment::new(SortedBuffer::new(buffer), Codec::None, account.reserve(0));
    peer.store.folder(JobId(1), IDENTITY).unwrap().hold(segment, 2, 1).unwrap().keep();
    peer.pairs.extend(pairs);
    peer.pairs.sort();
    assert_eq!(client.fetch(&[peer.outputs(3, "here")]).await.unwrap(), peer.pairs);
    peer.store.evict_largest().unwrap();
    assert_eq!(client.fetch(&[peer.outputs(3, "here")]).await.unwrap(), peer.pairs);
}

/// A sound file in the place of another one: nothing but its header tells. Whoever opens it finds
/// out: a reader on the same host, or the holder, who tells the reader.
#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_another_map_or_job_is_not_read_in_the_place_of_the_right_one() {
    let other_job = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(other_job.path().into(), 0);
    let folder = store.folder(JobId(1), JobIdentity(5)).unwrap();
    let owner = folder.owner(Stage::Map, 1, 1);
    let segment = SegmentWriter::create(folder.scratch_path(), Codec::None, &owner).unwrap();
    let (file, _) = segment.finish(Vec::new()).unwrap();
    folder.publish(file, 1, 1).unwrap().keep();
    for host in ["here", "elsewhere"] {
        for is_other_job in [true, false] {
            let (client, peer) = (Client::new(), Peer::new(3, 100));
            client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
            let foreign = match is_other_job {
                true => store.segment_path(JobId(1), 1, 1),
                false => peer.segment(2),
            };
            std::fs::copy(foreign, peer.segment(1)).unwrap();
            let failure = client.fetch(&[peer.outputs(3, host)]).await.unwrap_err();
            let (task, message) = blamed(failure);
            let of = if is_other_job { "task 1 of job 0000" } else { "task 2 of job 0123" };
            let expected = format!("the file has the pairs of attempt 1 of map {of}");
            assert!(task == 1 && message.contains(&expected), "{host}: {task}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_nothing_there_is_named() {
    let (client, peer) = (Client::new(), Peer::new(2, 10));
    let other = JobIdentity(5);
    client.fetcher.peers.insert(ADDRESS, other, connect(peer.service()));
    let failure = client.fetch_of(other, &[peer.outputs(2, "elsewhere")]).await.unwrap_err();
    let (task, message) = blamed(failure);
    assert!(task == 0 && message.contains(&format!("the outputs of job {other}")), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_of_more_runs_than_a_stream_merges_at_once_is_streamed() {
    let (client, peer) = (Client::new(), Peer::new(0, 0));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let folder = peer.store.folder(JobId(1), IDENTITY).unwrap();
    let segment = SegmentWriter::create(folder.scratch_path(), Codec::None, &owner(0, 1)).unwrap();
    let index = (0..300u16).map(|run| {
        let mut writer = segment.begin_run().partition(3);
        let (key, value) = ((run % 7).to_be_bytes().to_vec(), vec![run as u8]);
        writer.push(RecordRef { key: &key, value: &value }).unwrap();
        writer.finish(audit(&[(key, value)])).unwrap()
    });
    let index = index.collect();
    let (file, _) = segment.finish(index).unwrap();
    folder.publish(file, 0, 1).unwrap().keep();
    let mut expected: Vec<Pair> =
        (0..300u16).map(|run| ((run % 7).to_be_bytes().to_vec(), vec![run as u8])).collect();
    expected.sort();
    assert_eq!(client.fetch(&[peer.outputs(1, "elsewhere")]).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_reads_its_own_outputs_and_those_of_others_together() {
    let (client, peer) = (Client::new(), Peer::new(2, 50));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let mine = vec![(vec![0xff], vec![1]), (vec![0xff], vec![2])];
    leave_output(&client.fetcher.store, 9, 3, &mine);
    let own = WorkerOutputs {
        worker: WorkerId(1),
        shuffle_address: String::new(),
        outputs: vec![(9, 1)],
        ..peer.outputs(0, "here")
    };
    let fetched = client.fetch(&[own, peer.outputs(2, "elsewhere")]).await.unwrap();
    assert_eq!(fetched, [peer.pairs, mine].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_broken_output_is_named_near_and_far() {
    for host in ["here", "elsewhere"] {
        let (client, peer) = (Client::new(), Peer::new(3, 100));
        client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
        let path = peer.segment(1);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[80] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let failure = client.fetch(&[peer.outputs(3, host)]).await.unwrap_err();
        let (task, message) = blamed(failure);
        assert_eq!(task, 1);
        assert!(message.contains("map-00001.1.segment is corrupt at byte 44"), "{message}");
        std::fs::remove_file(path).unwrap();
        let failure = client.fetch(&[peer.outputs(3, host)]).await.unwrap_err();
        let (task, message) = blamed(failure);
        assert_eq!(task, 1);
        assert!(message.contains("No such file"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_fetches_that_mean_another_one() {
    let (client, peer) = (Client::new(), Peer::new(2, 10));
    client.fetcher.peers.insert(
        ADDRESS,
        IDENTITY,
        connect(peer.service_of(&identity(WorkerId(6)))),
    );
    let failure = client.fetch(&[peer.outputs(2, "elsewhere")]).await.unwrap_err();
    let (task, message) = blamed(failure);
    assert_eq!(task, 0);
    assert!(
        message.contains("worker-5 of cluster c was meant, but this is worker-6 of cluster c"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_lease_has_run_out_is_asked_until_it_has_one() {
    let (mut client, peer) = (Client::new(), Peer::new(2, 10));
    client.fetcher.timeouts.stall = Duration::from_secs(600);
    let identity = Arc::new(Identity::default());
    identity.set(CLUSTER, PEER, Instant::now());
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service_of(&identity)));
    let outputs = [peer.outputs(2, "elsewhere")];
    let fetch = client.fetch(&outputs);
    tokio::pin!(fetch);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut fetch).await;
    assert!(early.is_err(), "nothing is served without a lease");
    identity.renew(in_an_hour());
    assert_eq!(fetch.await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_gets_no_lease_is_given_up() {
    let (mut client, peer) = (Client::impatient(), Peer::new(2, 10));
    client.fetcher.timeouts.connect = Duration::from_millis(300);
    let identity = Arc::new(Identity::default());
    identity.set(CLUSTER, PEER, Instant::now());
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service_of(&identity)));
    let failure = client.fetch(&[peer.outputs(2, "elsewhere")]).await.unwrap_err();
    let (task, message) = blamed(failure);
    assert_eq!(task, 0);
    assert!(message.contains("no answer from peer:1 within 0.4 s"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_without_a_lease_of_its_own_does_not_count_against_a_peer() {
    let client = Client::impatient();
    client.fetcher.identity.renew(Instant::now());
    let stalled = Scripted { ends: false, ..Scripted::new(vec![vec![block()]]) };
    let fetch = fetch_scripted(&client, stalled);
    tokio::pin!(fetch);
    // Longer than a stream may stall.
    let early = tokio::time::timeout(3 * client.fetcher.timeouts.stall, &mut fetch).await;
    assert!(early.is_err(), "{early:?}");
    client.fetcher.identity.renew(in_an_hour());
    let (_, message) = blamed(fetch.await.unwrap_err());
    assert!(message.contains("no answer from peer:1 within 0.1 s"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_break_while_it_has_no_lease_are_nobodys_fault() {
    let client = Client::impatient();
    client.fetcher.identity.renew(Instant::now());
    // Both the first and the second break off: with a lease, that would be one too many.
    let end = Message::End(FetchEnd { records: 1, digest: 0 });
    let (whole, cut) = (vec![block(), end], vec![block()]);
    let fetch = fetch_scripted(&client, Scripted::new(vec![cut.clone(), cut, whole]));
    tokio::pin!(fetch);
    let early = tokio::time::timeout(3 * client.fetcher.timeouts.stall, &mut fetch).await;
    assert!(early.is_err(), "{early:?}");
    client.fetcher.identity.renew(in_an_hour());
    assert_eq!(fetch.await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_be_reached_fails_its_first_output() {
    let client = Client::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = WorkerOutputs {
        shuffle_address: free.to_string(),
        outputs: vec![(4, 1), (2, 1)],
        ..outputs(Path::new("/nonexistent"), 0, "elsewhere")
    };
    let (task, message) = blamed(client.fetch(&[gone]).await.unwrap_err());
    assert_eq!(task, 4);
    assert!(message.contains(&free.to_string()) && message.contains("refused"), "{message}");
}

/// A server that sends these messages, and then ends or goes on for ever.
struct Scripted {
    /// At the first call, at the second and so on; the last ones at all further calls.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_whole_is_never_taken_for_whole() {
    let end = |records| Message::End(FetchEnd { records, digest: 0 });
    let whole = Scripted::new(vec![vec![block(), end(1)]]);
    assert_eq!(fetch_scripted(&Client::new(), whole).await.unwrap().len(), 1);
    let broken = Message::Block(vec![0xff; 30].into());
    let scripts = [
        (vec![block()], "cut short"),
        (vec![], "cut short"),
        (vec![block(), end(2)], "1 of 2 pairs arrived"),
        (vec![broken, end(1)], "no sense"),
    ];
    for (messages, expected) in scripts {
        let failure = fetch_scripted(&Client::new(), Scripted::new(vec![messages])).await;
        let (task, message) = blamed(failure.unwrap_err());
        assert_eq!(task, 0);
        assert!(message.contains(expected), "{message}");
    }
}

fn block_of(pairs: &[Pair]) -> Message {
    let mut builder = BlockBuilder::new(Codec::None, 1 << 16);
    for (key, value) in pairs {
        assert!(builder.push(RecordRef { key, value }).unwrap());
    }
    builder.finish();
    Message::Block(builder.take().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_once_is_taken_up_where_it_was() {
    let pairs: Vec<Pair> = (0..40u8).map(|n| (vec![n], vec![n])).collect();
    let end = || {
        let Audit { records, digest } = audit(&pairs);
        Message::End(FetchEnd { records, digest })
    };
    let damaged = || match block_of(&pairs[10..]) {
        Message::Block(block) => {
            let mut bytes = block.to_vec();
            bytes[50] ^= 4;
            Message::Block(bytes.into())
        }
        other => other,
    };
    // Blocks need not end where they did before.
    let second =
        vec![block_of(&pairs[..4]), block_of(&pairs[4..25]), block_of(&pairs[25..]), end()];
    for first in [
        vec![],
        vec![block_of(&pairs[..10])],
        vec![block_of(&pairs[..10]), damaged(), end()],
        vec![block_of(&pairs[..10]), end()],
        vec![block_of(&pairs[..10]), block_of(&pairs[10..39]), end()],
    ] {
        let client = Client::new();
        let fetched = fetch_scripted(&client, Scripted::new(vec![first, second.clone()])).await;
        assert_eq!(fetched.unwrap(), pairs);
        assert_eq!(client.memory.used_bytes(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stalls_is_given_up() {
    let stalled = Scripted { ends: false, ..Scripted::new(vec![vec![block()]]) };
    let (task, message) = blamed(fetch_scripted(&Client::impatient(), stalled).await.unwrap_err());
    assert_eq!(task, 0);
    assert!(message.contains("no answer from peer:1 within 0.1 s"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellation_ends_a_fetch_that_waits() {
    let mut client = Client::new();
    client.fetcher.timeouts.stall = Duration::from_secs(600);
    let cancel = client.cancel.clone();
    let waiting = Scripted { ends: false, ..Scripted::new(vec![vec![block()]]) };
    let (fetched, ()) =
        tokio::join!(fetch_scripted(&client, waiting), async move { cancel.cancel() });
    assert_eq!(fetched.unwrap_err(), FailureCause::Cancelled);
}
