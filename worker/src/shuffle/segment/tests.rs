//! Segments, whole and broken.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::fan_in::SOURCE_BYTES;
use windrow_jobs::pairs::{RecordRef, RecordSink};
use windrow_jobs::{FailureCause, JobIdentity, StageId};

use super::{Owner, Segment, SegmentSource, SegmentWriter};
use crate::shuffle::block::{Block, Codec};
use crate::shuffle::merge::Merge;
use crate::shuffle::merge::tests::drain;
use crate::shuffle::pairs::SortedBuffer;
use crate::shuffle::source::BlockSource;
use crate::shuffle::spill::write_partition;
use crate::testing::{audit, owner};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Writes the partitions with their pairs interleaved, as several threads do.
fn write(path: PathBuf, partitions: &BTreeMap<u32, Pairs>) -> PathBuf {
    let segment = SegmentWriter::create(path, Codec::None, &owner(3, 1)).unwrap();
    let run = segment.begin_run();
    let mut writers: Vec<_> = partitions
        .iter()
        .map(|(partition, pairs)| (run.partition(*partition), pairs.iter()))
        .collect();
    let mut left = writers.len();
    while left > 0 {
        left = 0;
        for (writer, pairs) in &mut writers {
            if let Some((key, value)) = pairs.next() {
                writer.push(RecordRef { key, value }).unwrap();
                left += 1;
            }
        }
    }
    let promised = partitions.values().map(|pairs| audit(pairs));
    let finished = writers.into_iter().zip(promised);
    let index = finished.map(|((writer, _), audit)| writer.finish(audit).unwrap()).collect();
    let (file, bytes) = segment.finish(index).unwrap();
    let path = file.path().to_path_buf();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
    file.keep();
    path
}

fn read(path: &Path, partition: u32) -> Result<Pairs, FailureCause> {
    let sources = Segment::open(path, &owner(3, 1), 0)?.sources(partition)?;
    sources.into_iter().map(read_source).collect::<Result<Vec<_>, _>>().map(|runs| runs.concat())
}

fn read_source(mut source: SegmentSource) -> Result<Pairs, FailureCause> {
    let mut block = Block::default();
    let mut pairs = Vec::new();
    while source.next_block(&mut block)? {
        let records = (0..block.len()).map(|index| block.record(index));
        pairs.extend(records.map(|record| (record.key.to_vec(), record.value.to_vec())));
        assert!(!source.is_last() || !source.next_block(&mut Block::default())?);
    }
    Ok(pairs)
}

/// No test has more partitions.
const PARTITIONS_MAX: u32 = 12;

/// All partitions that have pairs.
fn read_all(path: &Path) -> Result<BTreeMap<u32, Pairs>, FailureCause> {
    let all = (0..PARTITIONS_MAX).map(|partition| Ok((partition, read(path, partition)?)));
    all.filter(|read| read.as_ref().map_or(true, |(_, pairs)| !pairs.is_empty())).collect()
}

fn small() -> BTreeMap<u32, Pairs> {
    let pairs = |n: u8| (0..n).map(|k| (vec![b'k', k], vec![k; 2])).collect();
    BTreeMap::from([(0, pairs(9)), (2, pairs(4))])
}

#[test]
fn a_punched_partition_leaves_the_disk_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = |n: u32| -> Pairs {
        (0..n).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; 100])).collect()
    };
    let partitions = BTreeMap::from([(0, pairs(30_000)), (1, pairs(9)), (2, pairs(20_000))]);
    let path = write(folder.path().join("segment"), &partitions);
    let on_disk = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let (bytes, before) = (std::fs::metadata(&path).unwrap().len(), on_disk());
    let segment = Segment::open(&path, &owner(3, 1), 0).unwrap();
    segment.punch(0).unwrap();
    segment.punch(0).unwrap();
    segment.punch(7).unwrap();
    let freed = before - on_disk();
    assert!((2_500_000..3_500_000).contains(&freed), "{freed} of {before} bytes");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
    assert!(segment.check_unpunched(0).unwrap_err().to_string().contains("partition 0"));
    for partition in [1, 2] {
        segment.check_unpunched(partition).unwrap();
        assert_eq!(read(&path, partition).unwrap(), partitions[&partition]);
    }
    // A reader that does not know of the holes does not take them for pairs.
    assert!(matches!(read(&path, 0), Err(FailureCause::Corrupt { .. })));
}

#[test]
fn a_source_reports_the_memory_of_its_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let memory_bytes = |pairs: &[usize]| {
        let pairs: Pairs = pairs.iter().map(|bytes| (vec![1], vec![7; *bytes])).collect();
        let path = write(folder.path().join("segment"), &BTreeMap::from([(0, pairs)]));
        Segment::open(&path, &owner(3, 1), 0).unwrap().sources(0).unwrap()[0].memory_bytes()
    };
    assert!((4_096..8_192).contains(&memory_bytes(&[9, 300])));
    assert_eq!(memory_bytes(&[1_000; 200]), SOURCE_BYTES);
    // Read and decompressed.
    assert!((6 << 20..7 << 20).contains(&memory_bytes(&[9, 3 << 20, 9])));
    // Never compressed.
    assert!((60 << 20..61 << 20).contains(&memory_bytes(&[9, 60 << 20, 9])));
}

#[test]
fn a_wrong_offset_does_not_make_a_large_allocation() {
    let folder = tempfile::tempdir().unwrap();
    let partitions = BTreeMap::from([(0, vec![(vec![1], vec![7; 3 << 20])])]);
    let path = write(folder.path().join("segment"), &partitions);
    let mut bytes = std::fs::read(&path).unwrap();
    let trailer = bytes.len() - super::TRAILER_BYTES;
    bytes[trailer..trailer + 8].copy_from_slice(&8u64.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = Segment::open(&path, &owner(3, 1), 0).err().unwrap().to_string();
    assert!(error.contains("the index lies outside the file"), "{error}");
}

#[test]
fn a_segment_of_another_owner_is_refused_with_both_names() {
    let folder = tempfile::tempdir().unwrap();
    let partitions = BTreeMap::from([(0, vec![(vec![1], vec![2])])]);
    let path = write(folder.path().join("segment"), &partitions);
    let own = owner(3, 1);
    assert!(Segment::open(&path, &own, 0).is_ok());
    for other in [
        Owner { job: JobIdentity(own.job.0 + 1), ..own },
        Owner { stage: StageId::REDUCE, ..own },
        Owner { task: 4, ..own },
        Owner { attempt: 2, ..own },
    ] {
        match Segment::open(&path, &other, 0).err() {
            Some(FailureCause::Corrupt { file, message, offset: 0 }) => {
                assert_eq!(file, path.display().to_string());
                assert_eq!(
                    message,
                    format!("the file has the pairs of {own}, not those of {other}")
                );
            }
            found => panic!("{found:?}"),
        }
    }
}

#[test]
fn a_damaged_header_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let partitions = BTreeMap::from([(0, vec![(vec![1], vec![2])])]);
    let path = write(folder.path().join("segment"), &partitions);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..super::FILE_HEADER_BYTES {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let error = Segment::open(&path, &owner(3, 1), 0).err().unwrap().to_string();
        let what =
            if at < super::MAGIC.len() { "not a segment of this version" } else { "checksum" };
        assert!(error.contains(what), "{at}: {error}");
    }
}

#[test]
fn pairs_read_from_a_temporary_segment_leave_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segment");
    let pairs: Pairs = (0..30_000u32).map(|n| (n.to_be_bytes().into(), vec![1; 100])).collect();
    let writer = SegmentWriter::create(path.clone(), Codec::None, &owner(3, 1)).unwrap();
    let mut partition = writer.begin_run().partition(0);
    for (key, value) in &pairs {
        partition.push(RecordRef { key, value }).unwrap();
    }
    let entry = partition.finish(audit(&pairs)).unwrap();
    let extent = entry.extents[0];
    let segment = writer.into_temporary(vec![entry]);
    let on_disk = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let before = on_disk();
    let mut source = segment.sources(0).unwrap().remove(0);
    drop(segment);
    let (mut block, mut read) = (Block::default(), 0);
    while on_disk() == before {
        assert!(source.next_block(&mut block).unwrap());
        read += block.len();
    }
    let freed = before - on_disk();
    assert!((extent.bytes - 8192..=extent.bytes).contains(&freed), "{freed} of {extent:?}");
    while source.next_block(&mut block).unwrap() {
        read += block.len();
    }
    assert_eq!(read, pairs.len());
    drop(source);
    assert!(!path.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_partition_is_read_as_written(
        partitions in prop::collection::btree_map(
            0u32..9, vec((vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..9)), 1..40), 0..5)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path().join("segment"), &partitions);
        let absent = (0..10).find(|number| !partitions.contains_key(number)).unwrap();
        prop_assert_eq!(read(&path, absent).unwrap(), Pairs::new());
        prop_assert_eq!(read_all(&path).unwrap(), partitions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn runs_in_one_file_merge_to_one_sorted_run(
        runs in vec(vec((0u32..3, vec(0u8..3, 0..12), vec(any::<u8>(), 0..5)), 0..40), 0..6),
        codec in prop::sample::select(vec![Codec::None, Codec::Lz4, Codec::Zstd]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let segment = SegmentWriter::create(folder.path().join("segment"), codec, &owner(3, 1)).unwrap();
        let mut index = Vec::new();
        for run in &runs {
            let mut buffer = RecordBuffer::new(8);
            for (partition, key, value) in run {
                crate::testing::push(&mut buffer, *partition, key, value);
            }
            let pairs = SortedBuffer::new(buffer);
            let writer = segment.begin_run();
            index.extend((0..3).map(|partition| write_partition(writer, &pairs, partition).unwrap()));
        }
        let (file, _) = segment.finish(index).unwrap();
        let segment = Segment::open(file.path(), &owner(3, 1), 0).unwrap();
        for partition in 0..3 {
            let of = |run: &[(u32, Vec<u8>, Vec<u8>)]| -> Pairs {
                let of = run.iter().filter(|(of, ..)| *of == partition);
                of.map(|(_, key, value)| (key.clone(), value.clone())).collect()
            };
            let mut expected = of(&runs.concat());
            expected.sort();
            let with_pairs = runs.iter().filter(|run| !of(run).is_empty()).count();
            let sources = segment.sources(partition).unwrap();
            prop_assert_eq!(sources.len(), with_pairs);
            let sources = sources.into_iter().map(|source| Box::new(source) as _);
            prop_assert_eq!(drain(&mut Merge::new(sources.collect())).unwrap(), expected);
        }
    }
}

#[test]
fn many_blocks_and_pairs_larger_than_a_block_are_read_as_written() {
    let folder = tempfile::tempdir().unwrap();
    // Incompressible, so that extents fill up.
    let noise = |n: u32| -> Vec<u8> {
        (0..700u32)
            .map(|k| (n.wrapping_mul(k ^ 0x9e37_79b9).wrapping_mul(0x85eb_ca6b) >> 24) as u8)
            .collect()
    };
    let many: Pairs = (0..4000u32).map(|n| (n.to_be_bytes().to_vec(), noise(n))).collect();
    let large: Pairs =
        vec![(vec![1], vec![7; 300_000]), (vec![2], vec![]), (vec![3; 70_000], noise(3))];
    let partitions = BTreeMap::from([(0, many), (1, large)]);
    let path = write(folder.path().join("segment"), &partitions);
    assert!(
        Segment::open(&path, &owner(3, 1), 0).unwrap().entries(0).unwrap()[0].extents.len() > 1
    );
    assert!(read_all(&path).unwrap() == partitions);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path().join("segment"), &small());
    let bytes = std::fs::read(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, broken).unwrap();
        let error = read_all(&path).expect_err("a bit was flipped");
        assert!(
            matches!(&error, FailureCause::Corrupt { file, .. } if path.ends_with(file)),
            "{error}"
        );
    }
}

#[test]
fn every_cut_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path().join("segment"), &small());
    let bytes = std::fs::read(&path).unwrap();
    for len in 0..bytes.len() {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let error = read_all(&path).expect_err("bytes are missing");
        assert!(matches!(error, FailureCause::Corrupt { .. }), "{error}");
    }
}

#[test]
fn the_position_of_a_broken_block_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path().join("segment"), &small());
    let offset =
        Segment::open(&path, &owner(3, 1), 0).unwrap().entries(2).unwrap()[0].extents[0].offset;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[offset as usize + 30] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(read(&path, 0).unwrap().len(), 9, "the other partition is whole");
    assert_eq!(
        read(&path, 2).unwrap_err(),
        FailureCause::Corrupt {
            file: path.display().to_string(),
            offset,
            message: "the checksum does not match".into(),
        }
    );
}

#[test]
fn an_index_in_memory_equals_the_one_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let segment =
        SegmentWriter::create(folder.path().join("segment"), Codec::None, &owner(3, 1)).unwrap();
    let mut index = Vec::new();
    for _ in 0..3 {
        let run = segment.begin_run();
        for partition in 0..400u32 {
            let key = partition.to_be_bytes();
            let mut writer = run.partition(partition);
            writer.push(RecordRef { key: &key, value: b"" }).unwrap();
            index.push(writer.finish(audit(&[(key.to_vec(), vec![])])).unwrap());
        }
    }
    let (file, _) = segment.finish(index.clone()).unwrap();
    let index_bytes = Segment::open(file.path(), &owner(3, 1), usize::MAX).unwrap().memory_bytes();
    let in_file = Segment::open(file.path(), &owner(3, 1), index_bytes / 2).unwrap();
    let in_memory = Segment::open(file.path(), &owner(3, 1), index_bytes).unwrap();
    assert_eq!(in_memory.memory_bytes(), index_bytes);
    assert!(in_file.memory_bytes() * 20 < index_bytes, "{} {index_bytes}", in_file.memory_bytes());
    let flip = |at: u64| {
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes[at as usize] ^= 1;
        std::fs::write(file.path(), bytes).unwrap();
    };
    for partition in 0..400 {
        let of = index.iter().filter(|entry| entry.partition == partition);
        let expected: Vec<_> = of.cloned().collect();
        assert_eq!(in_file.entries(partition).unwrap(), expected);
        assert_eq!(in_memory.entries(partition).unwrap(), expected);
    }
    // Damage to one page does not affect others.
    let last_block = index.iter().flat_map(|entry| &entry.extents).map(|e| e.offset + e.bytes);
    let first_page = last_block.max().unwrap();
    flip(first_page + 1);
    let error = in_file.entries(0).unwrap_err();
    assert!(error.to_string().contains("the checksum of the index does not match"), "{error}");
    assert_eq!(in_file.entries(399).unwrap().len(), 3);
    assert_eq!(in_memory.entries(0).unwrap().len(), 3);
    assert!(Segment::open(file.path(), &owner(3, 1), usize::MAX).is_err());
}

/// A transient read fault looks like this: the data is wrong in the open file and right in the file
/// of that name.
#[test]
fn a_block_that_is_sound_at_the_second_read_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let pairs: Pairs =
        (0..400u32).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; 700])).collect();
    let path = write(folder.path().join("segment"), &BTreeMap::from([(0, pairs.clone())]));
    let whole = folder.path().join("whole");
    std::fs::copy(&path, &whole).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(read(&path, 0).is_err());
    let segment = Segment::open(&path, &owner(3, 1), 0).unwrap();
    let mut source = segment.sources(0).unwrap().remove(0);
    let mut block = Block::default();
    assert!(source.next_block(&mut block).unwrap());
    let first = block.len();
    std::fs::rename(&whole, &path).unwrap();
    assert!(read_source(source).unwrap() == pairs[first..]);
}

#[test]
fn a_wrong_number_of_pairs_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in [1, 3] {
        let segment =
            SegmentWriter::create(folder.path().join("segment"), Codec::None, &owner(3, 1))
                .unwrap();
        let mut writer = segment.begin_run().partition(0);
        for key in [b"a", b"b"] {
            writer.push(RecordRef { key, value: b"" }).unwrap();
        }
        let pairs = [(b"a".to_vec(), vec![]), (b"b".to_vec(), vec![])];
        let mut index = writer.finish(audit(&pairs)).unwrap();
        index.audit.records = wrong;
        let (file, _) = segment.finish(vec![index]).unwrap();
        let error = read(file.path(), 0).unwrap_err();
        assert!(error.to_string().contains("the number of pairs differs from the index"));
    }
    let segment =
        SegmentWriter::create(folder.path().join("segment"), Codec::None, &owner(3, 1)).unwrap();
    let error = segment.begin_run().partition(0).finish(audit(&[(vec![], vec![])])).unwrap_err();
    assert!(error.to_string().contains("0 of 1 pairs were to be written"), "{error}");
}

#[test]
fn an_abandoned_writer_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segment");
    let segment = SegmentWriter::create(path.clone(), Codec::None, &owner(3, 1)).unwrap();
    assert!(path.exists());
    drop(segment);
    assert!(!path.exists());
}
