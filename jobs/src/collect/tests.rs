//! Tests of what collectors keep, and of their errors when user code fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::*;

use super::CollectorSetup;
use super::*;
use crate::audit::Audit;
use crate::failure::RecordPlace;
use crate::input::{Delimited, Fields};
use crate::pairs::{RecordBatches, RecordRef};
use crate::prelude::*;
use crate::user_code::{BadRecordPolicy, Breadcrumb};

/// Emits each word of a line, counts lines, and fails on demand.
struct Words;

impl Mapper for Words {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        out.count("lines", 1);
        match line {
            "error" => return Err(Error::new("bad line")),
            "panic" => panic!("worse line"),
            _ => {}
        }
        line.split_ascii_whitespace().try_for_each(|word| out.emit(word, 1))
    }
}

/// Partitions by the key's first byte.
struct FirstByte;

impl Partitioner for FirstByte {
    fn partition(&self, key: &[u8], _hash: u64, partitions: u32) -> u32 {
        key.first().map_or(0, |byte| u32::from(*byte) % partitions)
    }
}

fn appending() -> Job {
    Job::new("append", Words).partition_by(FirstByte).reduce(Sum)
}

fn combining() -> Job {
    Job::new("combine", Words).partition_by(FirstByte).combine(Sum).reduce(Sum)
}

fn collector(job: &Job, partitions: u32) -> Box<dyn Collector> {
    job.build("{}").unwrap().collector(&CollectorSetup { partitions, ..CollectorSetup::default() })
}

fn chunk(text: &str) -> Chunk<'_> {
    let mut chunk = Chunk::new("hay.txt", text.as_bytes());
    chunk.offset = 100;
    chunk
}

fn pairs(collector: &mut dyn Collector) -> RecordBuffer {
    match collector.take().unwrap() {
        Collected::Pairs(mut buffer) => {
            buffer.sort();
            buffer
        }
        Collected::Output { .. } => panic!("not a map-only job"),
    }
}

/// All pairs with their partitions.
fn all(buffer: &RecordBuffer) -> impl Iterator<Item = (u32, RecordRef<'_>)> {
    (0..buffer.partitions()).flat_map(move |partition| {
        (0..buffer.partition_len(partition)).map(move |i| (partition, buffer.get(partition, i)))
    })
}

/// All pairs as (partition, word, count).
fn counts(buffer: &RecordBuffer) -> Vec<(u32, String, u64)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    all(buffer).map(|(p, r)| (p, text(r.key), <u64 as Value>::decode(r.value).unwrap())).collect()
}

proptest! {
    #[test]
    fn both_stores_count_the_same_words(
        lines in vec("[a-d ]{0,12}|[a-b]{15,18}", 0..20),
        partitions in 1..4_u32,
    ) {
        let mut expected = BTreeMap::<(u32, &str), u64>::new();
        for word in lines.iter().flat_map(|line| line.split_ascii_whitespace()) {
            let partition = u32::from(word.as_bytes()[0]) % partitions;
            *expected.entry((partition, word)).or_default() += 1;
        }
        for job in [appending(), combining()] {
            let mut collector = collector(&job, partitions);
            for line in &lines {
                prop_assert_eq!(collector.map_chunk(&chunk(&format!("{line}\n")), &mut Unlimited).unwrap(), 1);
            }
            let buffer = pairs(&mut *collector);
            let all = counts(&buffer);
            prop_assert!(all.is_sorted());
            let mut found = BTreeMap::new();
            for (partition, word, count) in &all {
                *found.entry((*partition, word.as_str())).or_default() += count;
            }
            prop_assert_eq!(&found, &expected);
            if job.name() == "combine" {
                prop_assert_eq!(all.len(), expected.len());
            }
            let counted: u64 = collector.take_counters().iter().map(|(_, n)| n).sum();
            prop_assert_eq!(counted, lines.len() as u64);
        }
    }

    #[test]
    fn a_buffer_sorts_like_its_records(
        records in vec((0..3_u32, vec(0..3_u8, 0..11), vec(any::<u8>(), 0..3)), 0..200),
    ) {
        let mut halves = vec![RecordBuffer::new(3), RecordBuffer::new(3)];
        for (index, (partition, key, value)) in records.iter().enumerate() {
            halves[index % 2].push(*partition, RecordRef { key, value }).unwrap();
        }
        let mut buffer = RecordBuffer::merge(halves);
        buffer.sort();
        let bytes: usize = records.iter().map(|(_, key, value)| key.len() + value.len()).sum();
        prop_assert_eq!((buffer.len(), buffer.records_bytes()), (records.len(), bytes as u64));
        let mut sorted = records;
        sorted.sort();
        let found: Vec<_> = all(&buffer).map(|(p, r)| (p, r.key.to_vec(), r.value.to_vec())).collect();
        prop_assert_eq!(&found, &sorted);
        for partition in 0..4 {
            let expected = sorted.iter().filter(|record| record.0 == partition).cloned();
            let mut audit = Audit::default();
            expected.clone().for_each(|(_, key, value)| audit.add(&key, &value));
            prop_assert_eq!(buffer.audit(partition), audit);
            let found = drained(BufferBatches::new(&buffer, partition));
            prop_assert_eq!(found, expected.map(|(_, key, value)| (key, value)).collect::<Vec<_>>());
        }
    }
}

fn drained(mut batches: BufferBatches<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(batch) = batches.next_batch().unwrap() {
        records.extend(batch.iter().map(|r| (r.key.to_vec(), r.value.to_vec())));
    }
    records
}

#[test]
fn taking_frees_memory() {
    for job in [appending(), combining()] {
        let mut collector = collector(&job, 2);
        let empty = collector.memory_bytes();
        collector.map_chunk(&chunk(&"word and words ".repeat(1000)), &mut Unlimited).unwrap();
        assert!(collector.memory_bytes() > empty);
        assert!(pairs(&mut *collector).memory_bytes() > 0);
        assert_eq!(collector.memory_bytes(), empty);
        assert!(pairs(&mut *collector).is_empty());
    }
}

#[test]
fn map_only_output_is_text_in_input_order() {
    let mut collector = collector(&Job::new("text", Words).map_only(), 0);
    collector.map_chunk(&chunk("b a\n\n"), &mut Unlimited).unwrap();
    collector.map_chunk(&chunk("a"), &mut Unlimited).unwrap();
    match collector.take().unwrap() {
        Collected::Output { bytes, records, .. } => {
            assert_eq!(String::from_utf8(bytes).unwrap(), "b\t1\na\t1\na\t1\n");
            assert_eq!(records, 3);
        }
        Collected::Pairs(_) => panic!("a map-only job"),
    }
}

#[test]
fn an_error_names_the_record() {
    let error = collector(&combining(), 1)
        .map_chunk(&chunk("fine\nerror\nfine"), &mut Unlimited)
        .unwrap_err();
    let place = RecordPlace::in_file("hay.txt").at(105);
    assert_eq!(error, FailureCause::UserError { place, message: "bad line".into() });
}

#[test]
fn a_panic_names_the_record_and_the_source_line() {
    let error =
        collector(&combining(), 1).map_chunk(&chunk("a\nb\npanic\n"), &mut Unlimited).unwrap_err();
    let FailureCause::UserPanic { place, message } = error else { panic!("{error}") };
    assert_eq!(message, "worse line");
    assert_eq!((place.file.as_str(), place.offset), ("hay.txt", Some(104)));
    assert!(place.source.is_some_and(|source| source.starts_with(file!())));
}

#[test]
fn a_sum_that_overflows_in_the_table_names_file_and_key() {
    struct Numbers;
    impl Mapper for Numbers {
        type Input = Line;
        type Key = str;
        type Value = u8;
        fn map(&self, line: &str, out: &mut impl Emit<str, u8>) -> Result<()> {
            let (key, number) = line.split_at(line.len().min(5));
            out.emit(key.trim_end(), number.parse()?)
        }
    }
    let job = Job::new("numbers", Numbers).combine(Sum).reduce(Sum);
    let error = collector(&job, 1)
        .map_chunk(&chunk("barn 200\nhay  50\nbarn 56\n"), &mut Unlimited)
        .unwrap_err();
    let message = "hay.txt: key 'barn': the sum overflows u8: emit a wider type";
    assert_eq!(error.to_string(), message);
    let error =
        collector(&job, 1).map_chunk(&chunk("barn 1\nbarn x\n"), &mut Unlimited).unwrap_err();
    assert_eq!(error.to_string(), "hay.txt at byte 107: invalid digit found in string");
}

#[test]
fn a_partition_out_of_range_is_an_error() {
    struct Beyond;
    impl Partitioner for Beyond {
        fn partition(&self, _key: &[u8], _hash: u64, partitions: u32) -> u32 {
            partitions
        }
    }
    let job = Job::new("beyond", Words).partition_by(Beyond).reduce(Sum);
    let error = collector(&job, 3).map_chunk(&chunk("a"), &mut Unlimited).unwrap_err();
    assert_eq!(error.to_string(), "hay.txt at byte 100: the partitioner chose partition 3 of 0..3");
    let job = Job::new("beyond", Words).partition_by(Beyond).combine(Sum).reduce(Sum);
    let mut combining = collector(&job, 3);
    combining.map_chunk(&chunk("a"), &mut Unlimited).unwrap();
    let error = combining.take().unwrap_err();
    assert_eq!(error.to_string(), "the partitioner chose partition 3 of 0..3");
}

/// The pairs of a text, the counters, and the skipped records as (offset, message, record).
type Skipping = (Vec<(Vec<u8>, Vec<u8>)>, Counters, Vec<(Option<u64>, String, String)>);

/// Maps a text chunk by chunk, skipping bad records.
fn map_skipping(job: &Job, text: &[u8], chunk_bytes: usize) -> Result<Skipping, FailureCause> {
    let policy = BadRecordPolicy { skips_bad_records: true, ..BadRecordPolicy::default() };
    map_with_policy(job, text, chunk_bytes, policy)
}

fn map_with_policy(
    job: &Job,
    text: &[u8],
    chunk_bytes: usize,
    policy: BadRecordPolicy,
) -> Result<Skipping, FailureCause> {
    let setup = CollectorSetup { partitions: 2, bad_records: policy, ..CollectorSetup::default() };
    let program = job.build("{}").unwrap();
    let framing = program.input_format(0).framing;
    let mut collector = program.collector(&setup);
    let mut skipped = Vec::new();
    let mut whole = Chunk::new("hay.txt", text);
    whole.offset = 100;
    for piece in whole.pieces(framing, chunk_bytes) {
        collector.map_chunk(&piece, &mut Unlimited)?;
        skipped.extend(collector.take_skipped());
    }
    let skipped =
        skipped.into_iter().map(|bad| (bad.place.offset, bad.message, bad.record.unwrap()));
    let counters = collector.take_counters();
    let mut buffer = pairs(&mut *collector);
    buffer.sort();
    let all = (0..2).flat_map(|partition| {
        let of = |index| buffer.get(partition, index);
        (0..buffer.partition_len(partition))
            .map(move |index| (of(index).key.to_vec(), of(index).value.to_vec()))
            .collect::<Vec<_>>()
    });
    Ok((all.collect(), counters, skipped.collect()))
}

proptest! {
    #[test]
    fn skipping_gives_the_output_of_the_input_without_bad_records(
        lines in vec(prop_oneof![
            8 => "[a-c]{1,3}( [a-c]{1,9}){0,4}".prop_map(String::into_bytes),
            1 => Just(b"error".to_vec()),
            1 => Just(b"panic".to_vec()),
            1 => Just(b"late x\xff".to_vec()),
        ], 0..60),
        chunk_bytes in 1..200_usize,
        combines: bool,
    ) {
        let job = if combines { combining() } else { appending() };
        let is_bad = |line: &&Vec<u8>| matches!(line[..], [b'e', b'r', ..] | [b'p', ..] | [.., 0xff]);
        let good: Vec<u8> = lines.iter().filter(|line| !is_bad(line)).flat_map(|line| [&line[..], b"\n"].concat()).collect();
        let all: Vec<u8> = lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect();
        let (found, counters, skipped) = map_skipping(&job, &all, chunk_bytes).unwrap();
        let (expected, expected_counters, none) = map_skipping(&job, &good, usize::MAX).unwrap();
        prop_assert_eq!((found, counters), (expected, expected_counters));
        prop_assert!(none.is_empty());
        let mut offset = 100;
        let mut offsets = Vec::new();
        for line in &lines {
            if is_bad(&line) {
                offsets.push(Some(offset));
            }
            offset += line.len() as u64 + 1;
        }
        prop_assert_eq!(skipped.iter().map(|bad| bad.0).collect::<Vec<_>>(), offsets);
    }
}

/// Counts the rows with each first field.
struct FirstFields;

impl Mapper for FirstFields {
    type Input = Delimited;
    type Key = [u8];
    type Value = u64;

    fn map(&self, row: Fields<'_>, out: &mut impl Emit<[u8], u64>) -> Result<()> {
        if row.len() != 2 {
            return Err(Error::new("not two fields"));
        }
        out.emit(&row.get(0)?, 1)
    }
}

proptest! {
    #[test]
    fn a_field_with_line_breaks_is_one_bad_record_and_never_a_good_one(
        records in vec(prop_oneof![
            4 => Just("hay,1\n"),
            2 => Just("\"oats, rolled\",\"2\"\n"),
            1 => Just("\"Green\nfield\",3\n"),
            1 => Just("4,\"a\r\n\r\nrye,5\nb\"\r\n"),
            1 => Just("\"x\n\",\"y\nz,6\"\n"),
            1 => Just("7,8,9\n"),
        ], 0..80),
        chunk_bytes in 1..300_usize,
    ) {
        let is_bad = |record: &&str| record.trim_end().contains('\n') || record.contains(",8,");
        let job = Job::new("first", FirstFields).partition_by(FirstByte).reduce(Sum);
        let (found, _, skipped) = map_skipping(&job, records.concat().as_bytes(), chunk_bytes).unwrap();
        let good: String = records.iter().filter(|record| !is_bad(record)).copied().collect();
        let (expected, _, none) = map_skipping(&job, good.as_bytes(), usize::MAX).unwrap();
        prop_assert_eq!(found, expected);
        prop_assert!(none.is_empty());
        let mut offset = 100;
        let mut bad = Vec::new();
        for record in &records {
            if is_bad(record) {
                bad.push((Some(offset), record.trim_end().to_string()));
            }
            offset += record.len() as u64;
        }
        let skipped: Vec<_> = skipped.into_iter().map(|(offset, _, record)| (offset, record)).collect();
        prop_assert_eq!(skipped, bad);
    }
}

/// Emits a large number of pairs for `many`, then fails if told so.
struct Many;

impl Mapper for Many {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        let long = "x".repeat(1 << 20);
        let pairs = if line.starts_with("many") { 10 } else { 1 };
        (0..pairs).try_for_each(|n| out.emit(&long, n))?;
        out.count("lines", 1);
        if line.ends_with("bad") { Err(Error::new("after all")) } else { Ok(()) }
    }
}

#[test]
fn a_record_with_too_many_pairs_to_keep_aside_cannot_be_skipped() {
    let job = Job::new("many", Many).partition_by(FirstByte).reduce(Sum);
    let (pairs, counters, skipped) = map_skipping(&job, b"many\nfew\nbad\nfew\n", 1000).unwrap();
    assert_eq!((pairs.len(), skipped.len()), (12, 1));
    assert_eq!(counters, Counters::from_iter([("lines", 3)]));
    let failed = map_skipping(&job, b"few\nmany bad\n", 1000).unwrap_err();
    let place = RecordPlace::in_file("hay.txt").at(104);
    assert_eq!(failed, FailureCause::UserError { place, message: "after all".into() });
}

#[test]
fn only_a_panic_has_a_source_line() {
    let (_, _, skipped) = map_skipping(&appending(), b"ok\npanic\r\n\xff\n", 1000).unwrap();
    let expected = [
        (Some(103), "worse line".to_string(), "panic".to_string()),
        (
            Some(110),
            "invalid UTF-8: byte 0xff (--lossy replaces such bytes)".to_string(),
            "\u{fffd}".to_string(),
        ),
    ];
    assert_eq!(skipped, expected);
}

/// The record that user code is processing, and how many it has processed.
#[derive(Debug, Default)]
struct Steps(Mutex<(Option<u64>, Vec<u64>)>);

impl Breadcrumb for Steps {
    fn enter(&self, place: &RecordPlace) -> Result<(), FailureCause> {
        let mut steps = self.0.lock().unwrap();
        assert_eq!((steps.0, &*place.file), (None, "hay.txt"));
        steps.0 = place.offset;
        steps.1.extend(place.offset);
        Ok(())
    }

    fn leave(&self) -> Result<(), FailureCause> {
        self.0.lock().unwrap().0 = None;
        Ok(())
    }
}

#[test]
fn breadcrumbs_name_each_record_and_poison_is_not_tried() {
    let steps = Arc::new(Steps::default());
    let place = RecordPlace::in_file("hay.txt").at(102);
    let poison = BadRecord { place, message: "it kills".into(), record: None };
    let policy = BadRecordPolicy {
        skips_bad_records: true,
        breadcrumb: Some(Arc::clone(&steps) as _),
        poison: [poison].into(),
    };
    let text = b"a\npanic\nb\nerror\nc\n";
    let (pairs, counters, skipped) =
        map_with_policy(&combining(), text, 1000, policy.clone()).unwrap();
    assert_eq!((pairs.len(), &counters), (3, &Counters::from_iter([("lines", 3)])));
    let expected = [
        (Some(102), "it kills".to_string(), "panic".to_string()),
        (Some(110), "bad line".to_string(), "error".to_string()),
    ];
    assert_eq!(skipped, expected);
    assert_eq!(*steps.0.lock().unwrap(), (None, vec![100, 108, 110, 116]));
    let policy = BadRecordPolicy { skips_bad_records: false, poison: [].into(), ..policy };
    let failed = map_with_policy(&combining(), b"a\nerror\n", 1000, policy).unwrap_err();
    let place = RecordPlace::in_file("hay.txt").at(102);
    assert_eq!(failed, FailureCause::UserError { place, message: "bad line".into() });
}

/// A budget of this many bytes.
struct Tight {
    bytes: usize,
    spills: u32,
}

impl MemoryBudget for Tight {
    fn grow(&mut self, bytes: usize) -> bool {
        bytes <= self.bytes
    }

    fn spill(&mut self, pairs: RecordBuffer) -> Result<RecordBuffer, FailureCause> {
        self.spills += 1;
        Ok(RecordBuffer::new(pairs.partitions()))
    }
}

#[test]
fn the_audit_of_emitted_keys_does_not_depend_on_spills() {
    let text = |n: usize| format!("w{} a-key-of-two-dozen-bytes-{n} {}\n", n % 100, "x".repeat(40));
    let lines: Vec<_> = (0..3000).map(text).collect();
    // Maps chunks of `count` lines within `bytes` of memory.
    let emitted = |lines: &[String], seed, count, bytes| {
        let setup = CollectorSetup { partitions: 2, seed, ..CollectorSetup::default() };
        let mut collector = combining().build("{}").unwrap().collector(&setup);
        let mut memory = Tight { bytes, spills: 0 };
        for lines in lines.chunks(count) {
            collector.map_chunk(&chunk(&lines.concat()), &mut memory).unwrap();
        }
        (collector.emitted().unwrap(), memory.spills)
    };
    let (expected, none) = emitted(&lines, 1, 3000, usize::MAX);
    assert_eq!((expected.records, none), (9000, 0));
    let (tight, spills) = emitted(&lines, 1, 7, 64 << 10);
    assert_eq!(tight, expected);
    assert!(spills > 3, "{spills}");
    let mut other = lines.clone();
    other[5] = text(6);
    assert_ne!(emitted(&other, 1, 3000, usize::MAX).0, expected);
    assert_ne!(emitted(&lines, 2, 3000, usize::MAX).0, expected, "it is the job's own");
    assert_eq!(collector(&appending(), 2).emitted(), None);
}
