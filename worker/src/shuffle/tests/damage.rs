//! Segment files that were damaged after they had been finished: at any damage to any byte,
//! readers get the right pairs or a failure that names the output.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::{FailureCause, JobId, WorkerId};

use crate::shuffle::block::Codec;
use crate::shuffle::merge::Merge;
use crate::shuffle::merge::tests::{Pair, drain};
use crate::shuffle::origin::{MapOutputSource, Origin};
use crate::shuffle::pairs::SortedBuffer;
use crate::shuffle::segment::SegmentWriter;
use crate::shuffle::spill::write_partition;
use crate::shuffle::store::{SegmentStore, file_sources};
use crate::testing::{IDENTITY, owner};

const PARTITIONS: u32 = 3;

/// Damage to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    FlippedBit(u8),
    Truncated,
    /// So many bytes from a position on.
    Zeroed(usize),
    /// So many bytes repeated at a position.
    Doubled(usize),
    Deleted,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (0u8..8).prop_map(Damage::FlippedBit),
        2 => Just(Damage::Truncated),
        2 => (1usize..5000).prop_map(Damage::Zeroed),
        2 => (1usize..5000).prop_map(Damage::Doubled),
        1 => Just(Damage::Deleted),
    ]
}

impl Damage {
    fn strike(self, path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        let end = |count: usize| bytes.len().min(at + count);
        match self {
            Self::FlippedBit(bit) => bytes[at] ^= 1 << bit,
            Self::Truncated => bytes.truncate(at),
            Self::Zeroed(count) => {
                let end = end(count);
                bytes[at..end].fill(0);
            }
            Self::Doubled(count) => {
                let copy = bytes[at..end(count)].to_vec();
                bytes.splice(at..at, copy);
            }
            Self::Deleted => return std::fs::remove_file(path).unwrap(),
        }
        std::fs::write(path, bytes).unwrap();
    }
}

/// A worker's folder with one output of several runs, in blocks of all kinds.
struct Output {
    store: SegmentStore,
    path: PathBuf,
    pairs: Vec<Vec<Pair>>,
    _folder: tempfile::TempDir,
}

impl Output {
    fn new(codec: Codec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SegmentStore::new(folder.path().into(), 0);
        let job = store.folder(JobId(1), IDENTITY).unwrap();
        let segment = SegmentWriter::create(job.scratch_path(), codec, &owner(7, 3)).unwrap();
        let mut pairs = vec![Vec::new(); PARTITIONS as usize];
        let mut index = Vec::new();
        for run in 0..2u32 {
            let mut buffer = RecordBuffer::new(PARTITIONS);
            for n in 0..600u32 {
                let partition = n % PARTITIONS;
                let key = (n.wrapping_mul(0x9e37_79b9) >> 12).to_be_bytes().to_vec();
                let value = (n ^ run).to_le_bytes().repeat(2 + n as usize % 9);
                crate::testing::push(&mut buffer, partition, &key, &value);
                pairs[partition as usize].push((key, value));
            }
            let sorted = SortedBuffer::new(buffer);
            let run = segment.begin_run();
            index.extend((0..PARTITIONS).map(|of| write_partition(run, &sorted, of).unwrap()));
        }
        let (file, _) = segment.finish(index).unwrap();
        job.publish(file, 7, 3).unwrap().keep();
        pairs.iter_mut().for_each(|pairs| pairs.sort());
        let path = store.segment_path(JobId(1), 7, 3);
        Self { store, path, pairs, _folder: folder }
    }

    /// A partition as read by the holder, or by another worker on the same host.
    fn read(&self, is_holder: bool, partition: u32) -> Result<Vec<Pair>, FailureCause> {
        let origin = Origin { map_task: 7, map_attempt: 3, worker: WorkerId(5) };
        let sources = if is_holder {
            self.store.sources(JobId(1), (7, 3), partition)
        } else {
            file_sources(&self.path, &owner(7, 3), partition)
        };
        drain(&mut Merge::new(MapOutputSource::all(sources, &origin)?))
    }
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(vec![Codec::None, Codec::Lz4, Codec::Zstd])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_anywhere_leaves_the_right_pairs_or_names_the_output(
        codec in codec(), damage in damage(), at: prop::sample::Index, is_holder: bool, is_known: bool,
    ) {
        let output = Output::new(codec);
        if is_known {
            // The holder keeps the index in memory from now on.
            prop_assert_eq!(&output.read(true, 0).unwrap(), &output.pairs[0]);
        }
        let bytes = std::fs::metadata(&output.path).unwrap().len() as usize;
        damage.strike(&output.path, at.index(bytes));
        let mut whole = 0;
        for partition in 0..PARTITIONS {
            match output.read(is_holder, partition) {
                Ok(pairs) => {
                    prop_assert_eq!(&pairs, &output.pairs[partition as usize]);
                    whole += 1;
                }
                Err(FailureCause::FetchFailed { map_task: 7, map_attempt: 3, worker: WorkerId(5), .. }) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
        // A reader with a cached index does not need the one in the file.
        prop_assert!(whole < PARTITIONS || is_known && is_holder, "{damage:?} was not noticed");
    }
}
