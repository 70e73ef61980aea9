//! Figures of the inner loops, printed and never asserted:
//!
//!     cargo test --release -p windrow-worker measure -- --ignored --nocapture --test-threads 1

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::program::{RecordBatches, RecordRef, RecordSink};

use super::block::{Block, BlockBuilder, Codec};
use super::merge::Merge;
use super::pairs::{MemorySource, SortedBuffer, SortedPairs};
use super::segment::{Segment, SegmentWriter};
use super::source::{BLOCK_BYTES, BlockSource};
use super::spill::write_partition;

/// Kinds of pairs: name, key bytes, value bytes, whether keys are few and common.
const KINDS: [(&str, usize, usize, bool); 2] =
    [("100-byte records", 10, 90, false), ("words and counts", 8, 1, true)];

/// Pairs with random keys; common ones are numbers below 100,000 in decimal.
fn sorted(pairs: usize, kind: (&str, usize, usize, bool), seed: u64) -> Arc<SortedBuffer> {
    let (_, key_bytes, value_bytes, is_common) = kind;
    let mut state = seed;
    let mut buffer = RecordBuffer::default();
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

fn print(what: &str, kind: &str, started: Instant, records: usize, bytes: usize) {
    let seconds = started.elapsed().as_secs_f64();
    let (ns, rate) = (seconds * 1e9 / records as f64, bytes as f64 / seconds / 1e6);
    println!("{kind:18} {what:32} {ns:7.1} ns/record {rate:8.0} MB/s");
}

#[test]
#[ignore = "prints figures"]
fn measure_blocks() {
    for kind in KINDS {
        let pairs = sorted(1_000_000, kind, 1);
        let mut records = Vec::new();
        pairs.read(0, 0..pairs.len(0), &mut records);
        let bytes: usize = records.iter().map(|r| r.key.len() + r.value.len()).sum();
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
            let mut builder = BlockBuilder::new(codec, BLOCK_BYTES);
            let mut blocks = Vec::new();
            let mut out = Vec::with_capacity(2 * BLOCK_BYTES);
            for round in 0..2 {
                let started = Instant::now();
                for record in &records {
                    while !builder.push(*record).unwrap() {
                        out.clear();
                        builder.finish_into(&mut out);
                        if round == 1 {
                            blocks.push(out.clone());
                        }
                    }
                }
                if round == 1 {
                    print(&format!("encode {codec:?}"), kind.0, started, records.len(), bytes);
                }
            }
            let stored: usize = blocks.iter().map(Vec::len).sum();
            println!("{:18} {:32} {:.2} of the bytes", "", "", stored as f64 / bytes as f64);
            let mut block = Block::default();
            let started = Instant::now();
            for bytes in &blocks {
                block.decode(bytes).unwrap();
                black_box(block.len());
            }
            print(&format!("decode {codec:?}"), kind.0, started, records.len(), bytes);
        }
    }
}

fn drain(what: &str, kind: &str, sources: Vec<Box<dyn BlockSource>>) {
    let mut merge = Merge::new(sources);
    let (mut records, mut bytes, mut sum) = (0, 0, 0);
    let started = Instant::now();
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
            let started = Instant::now();
            let index =
                parts.iter().map(|pairs| write_partition(writer.begin_run(), &**pairs, 0).unwrap());
            let index = index.collect();
            let (file, bytes) = writer.finish(index).unwrap();
            print("write runs", kind.0, started, 2_000_000, bytes as usize);
            let segment = Segment::open(file.path()).unwrap();
            for what in ["first", "merge"] {
                let files = segment.sources(0).map(|source| Box::new(source) as _).collect();
                drain(&format!("{what} {ways} files"), kind.0, files);
            }
            let writer = SegmentWriter::create(folder.path().join("one"), Codec::None).unwrap();
            let mut out = writer.begin_run().partition(0);
            let files = segment.sources(0).map(|source| Box::new(source) as _).collect();
            let mut merge = Merge::new(files);
            let started = Instant::now();
            while let Some(batch) = merge.next_batch().unwrap() {
                for record in batch {
                    out.push(RecordRef { ..*record }).unwrap();
                }
            }
            out.finish().unwrap();
            print("merge and write again", kind.0, started, 2_000_000, bytes as usize);
        }
    }
}
