//! More streams than a sender has memory and descriptors for: it stays within both, all streams
//! end well, and waiting callers are told so.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windrow_jobs::pairs::{RecordRef, RecordSink};

use super::*;
use crate::shuffle::ShuffleService;
use crate::shuffle::block::Codec;
use crate::shuffle::merge::tests::Pair;
use crate::shuffle::segment::SegmentWriter;
use crate::shuffle::serve::admission::Need;
use crate::shuffle::transport::call::FetchServer;
use crate::testing::{IDENTITY, audit, connect, owner};

const OUTPUTS: u32 = 10;
const RUNS: u32 = 2;
/// Of each run: more than one block.
const PAIRS: u32 = 1_500;

/// A worker with outputs of several runs, each of which keeps its file open while it is merged.
struct Sender {
    service: ShuffleService,
    store: Arc<SegmentStore>,
    memory: Account,
    folder: tempfile::TempDir,
}

impl Sender {
    fn new(memory_bytes: u64, files_max: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SegmentStore::new(folder.path().into(), 0));
        let memory = Account::new(memory_bytes);
        let service =
            ShuffleService::within(Arc::clone(&store), identity(PEER), memory.clone(), files_max);
        Self { service, store, memory, folder }
    }

    /// Writes all outputs, and returns their pairs.
    fn leave_outputs(&self, seed: u32) -> Vec<Pair> {
        let folder = self.store.folder(JobId(1), IDENTITY).unwrap();
        let mut all = Vec::new();
        for task in 0..OUTPUTS {
            let segment =
                SegmentWriter::create(folder.scratch_path(), Codec::None, &owner(task, 1)).unwrap();
            let index = (0..RUNS).map(|run| {
                let pair = |n: u32| {
                    let key = (n * 31 + task * 7 + run + seed).to_be_bytes().to_vec();
                    (key, [task, run].map(u32::to_be_bytes).concat().repeat(4))
                };
                let pairs: Vec<Pair> = (0..PAIRS).map(pair).collect();
                let mut writer = segment.begin_run().partition(3);
                for (key, value) in &pairs {
                    writer.push(RecordRef { key, value }).unwrap();
                }
                let entry = writer.finish(audit(&pairs)).unwrap();
                all.extend(pairs);
                entry
            });
            let index = index.collect();
            let (file, _) = segment.finish(index).unwrap();
            folder.publish(file, task, 1).unwrap().keep();
        }
        all
    }
}

/// Files below `folder` that this process has open.
fn open_below(folder: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    open.filter(|path| path.starts_with(folder)).count()
}

/// Every reader merges streams of all senders, each of which can serve one reader at a time: if
/// turns were never given up, this would deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_streams_than_resources_stay_within_bounds_and_all_complete() {
    const SENDERS: u32 = 2;
    const READERS: usize = 3;
    const FILES: usize = 8;
    const MEMORY_BYTES: u64 = 4 << 20;
    let mut client = Client::new();
    client.fetcher.timeouts.stall = Duration::from_secs(60);
    // The least credit there is: many turns.
    client.memory = Account::new(1 << 20);
    let (mut senders, mut all, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..SENDERS {
        let sender = Sender::new(MEMORY_BYTES, FILES);
        expected.extend(sender.leave_outputs(number));
        let address = format!("peer:{number}");
        let server = FetchServer::new(sender.service.clone());
        client.fetcher.peers.insert(&address, IDENTITY, connect(server));
        let outputs = outputs(sender.folder.path(), OUTPUTS, "elsewhere");
        all.push(WorkerOutputs { shuffle_address: address, ..outputs });
        senders.push(sender);
    }
    expected.sort();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                let open = senders.iter().map(|sender| open_below(sender.folder.path()));
                most = most.max(open.max().unwrap_or_default());
                std::thread::park_timeout(Duration::from_millis(1));
            }
            most
        });
        let fetches = tokio_stream::iter((0..READERS).map(|_| client.fetch(&all)));
        let fetched = tokio::task::block_in_place(|| {
            Handle::current().block_on(join_all(StreamExt::collect(fetches)))
        });
        is_over.store(true, Ordering::Relaxed);
        for pairs in fetched {
            assert!(pairs.unwrap() == expected, "all pairs, in order");
        }
        // Indexes are read before a turn, one file at a time on each thread.
        let most = look.join().unwrap();
        assert!((4..=FILES + 2 * READERS).contains(&most), "{most} files were open");
    });
    for sender in &senders {
        let (files, bytes) = sender.service.admission().most_granted();
        assert!(files <= FILES && files > 4, "{files} files were granted");
        // A stream that is alone gets the resources that it needs to merge at all.
        assert!(bytes <= 12 << 20, "{bytes} bytes were granted");
        assert_eq!((sender.memory.used_bytes(), open_below(sender.folder.path())), (0, 0));
    }
    assert_eq!(client.memory.used_bytes(), 0);
}

async fn join_all<T>(futures: impl Future<Output = Vec<impl Future<Output = T>>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.await.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// A reader of a sender whose only turn belongs to somebody else.
struct Queued {
    client: Client,
    sender: Sender,
    expected: Vec<Pair>,
}

impl Queued {
    fn new() -> Self {
        let mut client = Client::new();
        client.fetcher.timeouts.stall = Duration::from_millis(300);
        let sender = Sender::new(1 << 30, 100);
        let mut expected = sender.leave_outputs(0);
        expected.sort();
        let server = FetchServer::new(sender.service.clone());
        client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(server));
        Self { client, sender, expected }
    }

    async fn fetch(&self) -> Result<Vec<Pair>, FailureCause> {
        self.client.fetch(&[outputs(self.sender.folder.path(), OUTPUTS, "elsewhere")]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_busy_sender_does_not_time_out() {
    let queued = Queued::new();
    let need = Need { files: 100, ..Need::default() };
    let turn = queued.sender.service.admission().try_turn(need).unwrap();
    let started = Instant::now();
    let others = async {
        // Several times the reader's timeout.
        while started.elapsed() < Duration::from_millis(1_500) {
            queued.sender.service.work().step();
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(queued.sender.service.admission().waiting(), 1);
        drop(turn);
    };
    let (fetched, ()) = tokio::join!(queued.fetch(), others);
    assert!(fetched.unwrap() == queued.expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_hanging_sender_times_out() {
    let queued = Queued::new();
    let need = Need { files: 100, ..Need::default() };
    let _turn = queued.sender.service.admission().try_turn(need).unwrap();
    let (_, message) = blamed(queued.fetch().await.unwrap_err());
    assert!(message.contains("no answer from peer:1 within 0.3 s"), "{message}");
}
