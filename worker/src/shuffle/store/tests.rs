//! Outputs in memory and in files, and their removal.

use proptest::collection::vec;
use proptest::prelude::*;
use windrow_jobs::collect::RecordBuffer;

use super::*;
use crate::files::TemporaryFile;
use crate::memory::Account;
use crate::shuffle::block::Codec;
use crate::shuffle::merge::Merge;
use crate::shuffle::merge::tests::{Pair, drain, pairs};
use crate::shuffle::pairs::SortedBuffer;
use crate::shuffle::segment::MemorySegment;
use crate::testing::IDENTITY;

fn buffer(pairs: &[(u32, Pair)]) -> RecordBuffer {
    let mut buffer = RecordBuffer::new(8);
    for (partition, (key, value)) in pairs {
        crate::testing::push(&mut buffer, *partition, key, value);
    }
    buffer
}

fn segment(account: &Account, pairs: &[(u32, Pair)]) -> MemorySegment {
    // Two runs, as two threads leave them.
    let (one, other) = pairs.split_at(pairs.len() / 3);
    let runs = [one, other].map(|pairs| SortedBuffer::new(buffer(pairs))).into();
    MemorySegment::new(runs, Codec::Lz4, account.reserve(0))
}

fn read(store: &SegmentStore, output: Output, partition: u32) -> Result<Vec<Pair>, FailureCause> {
    drain(&mut Merge::new(store.sources(JobId(1), output, partition)?))
}

fn in_partitions() -> impl Strategy<Value = Vec<(u32, Pair)>> {
    vec((0u32..4, pairs(1..2).prop_map(|mut pair| pair.remove(0))), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn outputs_read_the_same_in_memory_and_evicted(outputs in vec(in_partitions(), 1..5)) {
        let directory = tempfile::tempdir().unwrap();
        let store = SegmentStore::new(directory.path().into(), 0);
        let folder = store.folder(JobId(1), IDENTITY).unwrap();
        let account = Account::new(1 << 30);
        for (task, pairs) in (0..).zip(&outputs) {
            folder.hold(segment(&account, pairs), task, 2).unwrap().keep();
        }
        let read_all = || -> Vec<Vec<Pair>> {
            let tasks = 0..outputs.len() as u32;
            tasks.flat_map(|task| (0..4).map(move |p| (task, p)))
                .map(|(task, partition)| read(&store, (task, 2), partition).unwrap())
                .collect()
        };
        let before = read_all();
        prop_assert_eq!(before.concat().len(), outputs.concat().len());
        while store.evict_largest().unwrap() > 0 {
            prop_assert_eq!(&read_all(), &before);
        }
        prop_assert_eq!(account.used_bytes(), 0);
        for task in 0..outputs.len() as u32 {
            prop_assert!(store.segment_path(JobId(1), task, 2).exists());
        }
    }
}

#[test]
fn the_largest_output_that_nobody_reads_is_evicted() {
    let directory = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(directory.path().into(), 0);
    let account = Account::new(1 << 30);
    let pairs = |n: u32| -> Vec<(u32, Pair)> {
        (0..n).map(|n| (0, (n.to_be_bytes().to_vec(), vec![0; 50]))).collect()
    };
    let folder = store.folder(JobId(1), IDENTITY).unwrap();
    for (task, n) in [(0, 10), (1, 3000), (2, 100)] {
        folder.hold(segment(&account, &pairs(n)), task, 1).unwrap().keep();
    }
    let held_bytes = account.used_bytes();
    let evicted = |task| store.segment_path(JobId(1), task, 1).exists();
    let reader = store.sources(JobId(1), (1, 1), 0).unwrap();
    // Evicting an output that is being read would free nothing.
    let freed_bytes = store.evict_largest().unwrap();
    assert_eq!([0, 1, 2].map(evicted), [false, false, true]);
    assert_eq!(account.used_bytes(), held_bytes - freed_bytes);
    assert_eq!(drain(&mut Merge::new(reader)).unwrap().len(), 3000);
    let freed_later_bytes = store.evict_largest().unwrap();
    assert_eq!([0, 1, 2].map(evicted), [false, true, true]);
    assert_eq!(account.used_bytes(), held_bytes - freed_bytes - freed_later_bytes);
    assert_eq!(read(&store, (1, 1), 0).unwrap().len(), 3000);
    store.release(JobId(1));
    assert_eq!(account.used_bytes(), 0);
    assert_eq!(store.evict_largest().unwrap(), 0);
    assert!(read(&store, (1, 1), 0).is_err() && read(&store, (2, 1), 0).is_err());
}

#[test]
fn an_output_that_is_not_kept_is_removed_from_memory_and_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(directory.path().into(), 0);
    let folder = store.folder(JobId(1), IDENTITY).unwrap();
    let account = Account::new(1 << 30);
    let pair = [(0, (vec![1], vec![2]))];
    let held = folder.hold(segment(&account, &pair), 0, 1).unwrap();
    assert_eq!(read(&store, (0, 1), 0).unwrap().len(), 1);
    drop(held);
    assert!(read(&store, (0, 1), 0).is_err());
    let evicted = folder.hold(segment(&account, &pair), 0, 1).unwrap();
    store.evict_largest().unwrap();
    drop(evicted);
    assert!(read(&store, (0, 1), 0).is_err());
    assert_eq!(std::fs::read_dir(directory.path().join("job-1")).unwrap().count(), 0);
}

#[test]
fn a_segment_that_cannot_be_written_stays_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(directory.path().join("worker"), 0);
    let folder = store.folder(JobId(1), IDENTITY).unwrap();
    let account = Account::new(1 << 30);
    folder.hold(segment(&account, &[(0, (vec![1], vec![2]))]), 0, 1).unwrap().keep();
    std::fs::remove_dir(directory.path().join("worker/job-1")).unwrap();
    assert!(store.evict_largest().is_err());
    assert_eq!(read(&store, (0, 1), 0).unwrap().len(), 1);
    std::fs::create_dir(directory.path().join("worker/job-1")).unwrap();
    assert!(store.evict_largest().unwrap() > 0, "and can be evicted later");
}

#[test]
fn a_released_job_has_no_files_and_accepts_no_output() {
    let directory = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(directory.path().into(), 0);
    let folder = store.folder(JobId(7), IDENTITY).unwrap();
    let scratch = || {
        let path = folder.scratch_path();
        std::fs::write(&path, "x").unwrap();
        TemporaryFile::new(path)
    };
    let (early, late) = (scratch(), scratch());
    folder.publish(early, 3, 1).unwrap().keep();
    assert!(store.segment_path(JobId(7), 3, 1).exists());
    let account = Account::new(1 << 20);
    folder.hold(segment(&account, &[]), 5, 1).unwrap().keep();
    store.release(JobId(7));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(folder.publish(late, 4, 1).unwrap_err(), FailureCause::Cancelled);
    let late = folder.hold(segment(&account, &[]), 6, 1);
    assert_eq!(late.err(), Some(FailureCause::Cancelled));
    assert_eq!(account.used_bytes(), 0);
}

#[test]
fn an_attempt_of_a_released_job_cannot_write_to_a_later_job_of_that_number() {
    let directory = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(directory.path().into(), 0);
    let old = store.folder(JobId(1), IDENTITY).unwrap();
    store.release(JobId(1));
    store.folder(JobId(1), IDENTITY).unwrap();
    let path = old.scratch_path();
    std::fs::write(&path, "late").unwrap();
    assert!(old.publish(TemporaryFile::new(path.clone()), 0, 1).is_err());
    assert!(!path.exists() && !store.segment_path(JobId(1), 0, 1).exists());
}

#[test]
fn a_freed_partition_cannot_be_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(directory.path().into(), 0);
    let folder = store.folder(JobId(1), IDENTITY).unwrap();
    let account = Account::new(1 << 30);
    let pairs = [(0, (vec![1], vec![2])), (3, (vec![3], vec![4]))];
    for task in 0..3 {
        folder.hold(segment(&account, &pairs), task, 1).unwrap().keep();
    }
    store.evict_largest().unwrap();
    store.evict_largest().unwrap();
    let in_file = |task| store.segment_path(JobId(1), task, 1).exists();
    let was_read = (0..3).find(|task| in_file(*task)).unwrap();
    assert_eq!(read(&store, (was_read, 1), 3).unwrap().len(), 1);
    store.free_partition(JobId(1), 0);
    store.free_partition(JobId(2), 0);
    for task in 0..3 {
        let zero = read(&store, (task, 1), 0);
        assert_eq!(zero.is_err(), task == was_read, "in a file, and its index is cached: {zero:?}");
        assert_eq!(read(&store, (task, 1), 3).unwrap().len(), 1);
    }
}

#[test]
fn an_output_can_be_discarded_in_memory_and_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(directory.path().into(), 0);
    let account = Account::new(1 << 30);
    let pairs = [(0, (vec![1], vec![2]))];
    let folder = store.folder(JobId(1), IDENTITY).unwrap();
    for task in 0..3 {
        folder.hold(segment(&account, &pairs), task, 1).unwrap().keep();
    }
    while store.evict_largest().unwrap() > 0 {}
    folder.hold(segment(&account, &pairs), 3, 1).unwrap().keep();
    assert_eq!(read(&store, (1, 1), 0).unwrap().len(), 1);
    store.discard(JobId(1), (1, 1));
    store.discard(JobId(1), (3, 1));
    store.discard(JobId(2), (0, 1));
    for (task, is_there) in [(0, true), (1, false), (2, true), (3, false)] {
        assert_eq!(read(&store, (task, 1), 0).is_ok(), is_there, "task {task}");
    }
}
