//! Figures of the inner loops, printed and never asserted:
//!
//!     cargo test --release -p windrow-worker measure -- --ignored --nocapture --test-threads 1

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::program::{RecordBatches, RecordSink};
use windrow_jobs::{JobId, WorkerId};

use super::block::{Block, BlockBuilder, Codec};
use super::fetch::{FetchPlan, Fetcher, Streams};
use super::merge::Merge;
use super::pairs::{MemorySource, SortedBuffer, SortedPairs};
use super::peers::Peers;
use super::segment::{MemorySegment, Segment, SegmentWriter};
use super::source::{BLOCK_BYTES, BlockSource};
use super::spill::write_partition;
use super::store::SegmentStore;
use super::{FetchTimeouts, ShuffleService};
use crate::executor::WorkerOutputs;
use crate::identity::Identity;
use crate::memory::Account;
use crate::rpc::{ShuffleServer, ShuffleTls, preamble};

/// Kinds of pairs: name, key bytes, value bytes, whether keys are few and common.
const KINDS: [(&str, usize, usize, bool); 2] =
    [("100-byte records", 10, 90, false), ("words and counts", 8, 1, true)];

/// Pairs with random keys; common ones are numbers below 100,000 in decimal.
fn sorted(pairs: usize, kind: (&str, usize, usize, bool), seed: u64) -> Arc<SortedBuffer> {
    let (_, key_bytes, value_bytes, is_common) = kind;
    let mut state = seed;
    let mut buffer = RecordBuffer::new(1);
    for _ in 0..pairs {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mixed = (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let key = if is_common {
            format!("{:0key_bytes$}", mixed % 100_000).into_bytes()
        } else {
            [&mixed.to_be_bytes()[..], &state.to_le_bytes()].concat()[..key_bytes].to_vec()
        };
        let value: Vec<u8> = (0..value_bytes as u64).map(|n| (mixed >> (n % 57)) as u8).collect();
        crate::testing::push(&mut buffer, 0, &key, &value);
    }
    Arc::new(SortedBuffer::new(buffer))
}

/// CPU time of this thread so far, which other processes disturb less than the clock.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_once(' ').unwrap().0.parse().unwrap()
}

fn print(what: &str, kind: &str, started_ns: u64, records: usize, bytes: usize) {
    let seconds = (cpu_ns() - started_ns) as f64 / 1e9;
    let (ns, rate) = (seconds * 1e9 / records as f64, bytes as f64 / seconds / 1e6);
    println!("{kind:18} {what:32} {ns:7.1} ns/record {rate:8.0} MB/s");
}

#[test]
#[ignore = "prints figures"]
fn measure_blocks() {
    for kind in KINDS {
        // Copied to where they lie in order, so that memory is not what is measured.
        let pairs = sorted(1_000_000, kind, 1);
        let mut copy = Block::default();
        (0..pairs.len(0)).for_each(|index| copy.push(pairs.get(0, index)));
        let mut records = Vec::new();
        copy.read(0..copy.len(), &mut records);
        let bytes: usize = records.iter().map(|r| r.key.len() + r.value.len()).sum();
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
            let mut builder = BlockBuilder::new(codec, BLOCK_BYTES);
            let mut blocks = Vec::new();
            for round in 0..2 {
                let started = cpu_ns();
                for record in &records {
                    while !builder.push(*record).unwrap() {
                        builder.finish();
                        if round == 0 {
                            blocks.push(Bytes::copy_from_slice(builder.finished()));
                        }
                        builder.clear();
                    }
                }
                if round == 1 {
                    print(&format!("encode {codec:?}"), kind.0, started, records.len(), bytes);
                }
            }
            let stored: usize = blocks.iter().map(Bytes::len).sum();
            println!("{:18} {:32} {:.2} of the bytes", "", "", stored as f64 / bytes as f64);
            let mut block = Block::default();
            let started = cpu_ns();
            for bytes in &blocks {
                block.decode_bytes(bytes.clone()).unwrap();
                black_box(block.len());
            }
            print(&format!("decode {codec:?}"), kind.0, started, records.len(), bytes);
        }
    }
}

fn drain(what: &str, kind: &str, sources: Vec<Box<dyn BlockSource>>) {
    let mut merge = Merge::new(sources);
    let (mut records, mut bytes, mut sum) = (0, 0, 0);
    let started = cpu_ns();
    while let Some(batch) = merge.next_batch().unwrap() {
        records += batch.len();
        for record in batch {
            bytes += record.key.len() + record.value.len();
            sum += record.value.last().map_or(0, |byte| u64::from(*byte));
        }
    }
    black_box(sum);
    print(what, kind, started, records, bytes);
}

#[test]
#[ignore = "prints figures"]
fn measure_merges() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        for ways in [1, 2, 4, 16, 64] {
            let parts: Vec<_> =
                (0..ways).map(|n| sorted(2_000_000 / ways, kind, n as u64)).collect();
            let memory = parts
                .iter()
                .map(|pairs| Box::new(MemorySource::new(Arc::clone(pairs) as _, 0).unwrap()) as _);
            drain(&format!("merge {ways} in memory"), kind.0, memory.collect());
            let writer = SegmentWriter::create(folder.path().join("runs"), Codec::None).unwrap();
            let started = cpu_ns();
            let index =
                parts.iter().map(|pairs| write_partition(writer.begin_run(), &**pairs, 0).unwrap());
            let index = index.collect();
            let (file, bytes) = writer.finish(index).unwrap();
            print("write runs", kind.0, started, 2_000_000, bytes as usize);
            let segment = Segment::open(file.path(), usize::MAX).unwrap();
            for what in ["first", "merge"] {
                let files = segment.sources(0).unwrap().into_iter();
                let files = files.map(|source| Box::new(source) as _).collect();
                drain(&format!("{what} {ways} files"), kind.0, files);
            }
            let writer = SegmentWriter::create(folder.path().join("one"), Codec::None).unwrap();
            let mut out = writer.begin_run().partition(0);
            let files = segment.sources(0).unwrap().into_iter();
            let files = files.map(|source| Box::new(source) as _).collect();
            let mut merge = Merge::new(files);
            let started = cpu_ns();
            while let Some(batch) = merge.next_batch().unwrap() {
                for record in batch {
                    out.push(*record).unwrap();
                }
            }
            out.finish(merge.promised()).unwrap();
            print("merge and write again", kind.0, started, 2_000_000, bytes as usize);
        }
    }
}

/// CPU time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn measure_fetching_over_loopback() {
    const OUTPUTS: u32 = 4;
    const PAIRS: usize = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SegmentStore::new(folder.path().join("peer"), 0));
    let account = Account::new(8 << 30);
    for task in 0..OUTPUTS {
        let pairs = sorted(PAIRS, KINDS[0], u64::from(task));
        let pairs = Arc::into_inner(pairs).unwrap();
        let segment = MemorySegment::new(pairs, Codec::None, account.reserve(0));
        store.folder(JobId(1)).unwrap().hold(segment, task, 1).unwrap().keep();
    }
    let identity = Arc::new(Identity::default());
    let lease_ends = tokio::time::Instant::now() + Duration::from_secs(3_600);
    identity.set("", WorkerId(5), lease_ends);
    let service = ShuffleService::new(store, identity, account.clone());
    let server = ShuffleServer::start(service, ShuffleTls::Off);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        preamble::read(&mut connection).await.unwrap();
        server.serve(JobId(1), connection);
    });
    let fetcher = Fetcher {
        identity: Arc::default(),
        host: "here".into(),
        store: Arc::new(SegmentStore::new(folder.path().join("mine"), 0)),
        peers: Arc::new(Peers::new(ShuffleTls::Off, Duration::from_secs(5), 4 << 20)),
        timeouts: FetchTimeouts::default(),
    };
    for host in ["here", "elsewhere"] {
        let outputs = [WorkerOutputs {
            worker: WorkerId(5),
            shuffle_address: address.clone(),
            host: host.into(),
            directory: folder.path().into(),
            outputs: (0..OUTPUTS).map(|task| (task, 1)).collect(),
        }];
        let plan = FetchPlan {
            job: JobId(1),
            partition: 0,
            outputs: &outputs,
            streams: Streams::Shared,
            runtime: tokio::runtime::Handle::current(),
            cancel: CancellationToken::new(),
            compression: None,
            memory: account.clone(),
        };
        let sources = fetcher.sources(&plan).unwrap();
        let cpu = cpu_seconds();
        let work = || drain("fetch, the reducer's thread", KINDS[0].0, sources);
        tokio::task::spawn_blocking(work).await.unwrap();
        let cpu = cpu_seconds() - cpu;
        let megabytes = f64::from(OUTPUTS) * PAIRS as f64 / 1e4;
        println!("{host:18} {cpu:.2} s of CPU: {:.0} MB a core second", megabytes / cpu);
    }
}
