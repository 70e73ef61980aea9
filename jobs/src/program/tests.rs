//! Tests of the reduce and combine loops: batches cut anywhere, and failures of sources, sinks and
//! user code.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::failure::RecordPlace;
use crate::pairs::RecordRef;
use crate::prelude::*;
use crate::user_code::Breadcrumb;

const PART: PartInfo = PartInfo::new(0);

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Encodes and sorts pairs.
fn encode(pairs: &[(String, u64)]) -> Pairs {
    let mut encoded: Pairs = Vec::new();
    for (key, value) in pairs {
        let mut bytes = Vec::new();
        <u64 as Value>::encode(*value, &mut bytes).unwrap();
        encoded.push((key.clone().into_bytes(), bytes));
    }
    encoded.sort();
    encoded
}

/// A source of batches of one size, which may end with a failure.
struct Batches<'a> {
    records: Vec<RecordRef<'a>>,
    batch_records: usize,
    next: usize,
    failure: Option<FailureCause>,
}

impl<'a> Batches<'a> {
    fn new(pairs: &'a Pairs, batch_records: usize) -> Self {
        let records = pairs.iter().map(|(key, value)| RecordRef { key, value }).collect();
        Self { records, batch_records, next: 0, failure: None }
    }
}

impl RecordBatches for Batches<'_> {
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause> {
        let batch = self.records[self.next..].chunks(self.batch_records).next();
        self.next += batch.map_or(0, <[_]>::len);
        match batch {
            // A source that has failed must not be called again.
            None => self.failure.clone().map_or(Ok(None), Err),
            batch => Ok(batch),
        }
    }
}

/// Keeps what is written, up to a number of bytes; then the disk is full.
struct Disk {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Disk {
    fn new() -> Self {
        Self { bytes: Vec::new(), bytes_max: usize::MAX }
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.bytes).unwrap()
    }
}

fn disk_full() -> FailureCause {
    FailureCause::Io { path: "part".into(), message: "no space".into(), disk_full: true }
}

impl PartSink for Disk {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FailureCause> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            return Err(disk_full());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl RecordSink for Disk {
    fn push(&mut self, record: RecordRef<'_>) -> Result<(), FailureCause> {
        let key = str::from_utf8(record.key).unwrap();
        let line = format!("{key}\t{}\n", <u64 as Value>::decode(record.value).unwrap());
        self.write(line.as_bytes())
    }
}

/// Never called: these tests begin after the map.
struct NoMapper;

impl Mapper for NoMapper {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, _line: &str, _out: &mut impl Emit<str, u64>) -> Result<()> {
        Ok(())
    }
}

fn program(reducer: impl Reducer<str, u64>) -> Arc<dyn Program> {
    Job::new("test", NoMapper).combine(Sum).reduce(reducer).build("{}").unwrap()
}

/// Reads at most this many values of each group, and emits key and sum.
struct SumOfFirst(usize);

impl Reducer<str, u64> for SumOfFirst {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        out.count("groups", 1);
        let mut sum = 0;
        for _ in 0..self.0 {
            match values.next()? {
                Some(value) => sum += value,
                None => break,
            }
        }
        out.emit(key, sum)
    }
}

/// Reducers that handle failures badly.
enum Careless {
    Ignores,
    Replaces,
    Panics,
}

impl Reducer<str, u64> for Careless {
    type OutputKey = str;
    type OutputValue = str;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, str>,
    ) -> Result<()> {
        let long = "x".repeat(300 << 10);
        let outcome = values.count().and_then(|_| out.emit(key, &long));
        match self {
            Self::Ignores => Ok(()),
            Self::Replaces => outcome.map_err(|_| Error::new("something happened")),
            Self::Panics => {
                outcome.unwrap();
                Ok(())
            }
        }
    }
}

fn few_pairs() -> impl Strategy<Value = Vec<(String, u64)>> {
    vec(("[ab]{0,2}", 0..1000_u64), 0..60)
}

proptest! {
    #[test]
    fn groups_are_whole_wherever_batches_are_cut(
        pairs in few_pairs(), batch_records in 1..20_usize, read in 0..6_usize,
    ) {
        let encoded = encode(&pairs);
        let mut groups = BTreeMap::<&[u8], Vec<u64>>::new();
        for (key, value) in &encoded {
            groups.entry(key).or_default().push(<u64 as Value>::decode(value).unwrap());
        }
        let expected: String = groups.iter().map(|(key, values)| {
            format!("{}\t{}\n", str::from_utf8(key).unwrap(), values.iter().take(read).sum::<u64>())
        }).collect();
        let mut part = Disk::new();
        let summary = program(SumOfFirst(read)).reduce(PART, &mut Batches::new(&encoded, batch_records), &mut part).unwrap();
        prop_assert_eq!(part.text(), expected);
        prop_assert_eq!(summary.input_records, pairs.len() as u64);
        prop_assert_eq!(summary.groups, groups.len() as u64);
        prop_assert_eq!(summary.output_records, groups.len() as u64);
        let counted: u64 = summary.counters.iter().map(|(_, n)| n).sum();
        prop_assert_eq!(counted, groups.len() as u64);
    }

    #[test]
    fn combining_equals_reducing_by_the_same_sum(pairs in few_pairs(), batch_records in 1..20_usize) {
        let encoded = encode(&pairs);
        let program = program(Sum);
        let (mut combined, mut reduced) = (Disk::new(), Disk::new());
        program.combine(&mut Batches::new(&encoded, batch_records), &mut combined).unwrap();
        program.reduce(PART, &mut Batches::new(&encoded, batch_records), &mut reduced).unwrap();
        prop_assert_eq!(combined.text(), reduced.text());
    }
}

fn two_pairs() -> Pairs {
    encode(&[("a".to_string(), 1), ("b".to_string(), 2)])
}

#[test]
fn without_a_combiner_pairs_are_copied() {
    let program = Job::new("test", NoMapper).reduce(Sum).build("{}").unwrap();
    assert!(!program.has_combiner());
    let pairs = encode(&[("a".to_string(), 1), ("a".to_string(), 2)]);
    let mut copied = Disk::new();
    program.combine(&mut Batches::new(&pairs, 1), &mut copied).unwrap();
    assert_eq!(copied.text(), "a\t1\na\t2\n");
}

#[test]
fn a_failure_of_the_source_is_reported_whatever_user_code_does() {
    let broken = FailureCause::Corrupt { file: "s".into(), offset: 7, message: "crc".into() };
    let pairs = two_pairs();
    let source = || Batches { failure: Some(broken.clone()), ..Batches::new(&pairs, 1) };
    for reducer in [Careless::Ignores, Careless::Replaces, Careless::Panics] {
        let error = program(reducer).reduce(PART, &mut source(), &mut Disk::new()).unwrap_err();
        assert_eq!(error, broken);
    }
    assert_eq!(program(Sum).reduce(PART, &mut source(), &mut Disk::new()).unwrap_err(), broken);
    assert_eq!(program(Sum).combine(&mut source(), &mut Disk::new()).unwrap_err(), broken);
}

#[test]
fn a_failure_of_the_sink_is_reported_whatever_user_code_does() {
    let pairs = two_pairs();
    let full = || Disk { bytes_max: 3, ..Disk::new() };
    for reducer in [Careless::Ignores, Careless::Replaces, Careless::Panics] {
        let error =
            program(reducer).reduce(PART, &mut Batches::new(&pairs, 1), &mut full()).unwrap_err();
        assert_eq!(error, disk_full());
    }
    let mut source = Batches::new(&pairs, 1);
    assert_eq!(program(Sum).reduce(PART, &mut source, &mut full()).unwrap_err(), disk_full());
    let mut source = Batches::new(&pairs, 1);
    assert_eq!(program(Sum).combine(&mut source, &mut full()).unwrap_err(), disk_full());
}

/// Fails on demand.
struct Failing {
    panics: bool,
}

impl Reducer<str, u64> for Failing {
    type OutputKey = str;
    type OutputValue = ();

    fn reduce(
        &self,
        key: &str,
        _values: &mut Values<'_, u64>,
        _out: &mut impl Emit<str, ()>,
    ) -> Result<()> {
        match key {
            "a" => Ok(()),
            _ if self.panics => panic!("no key like that"),
            _ => Err(Error::new("bad key")),
        }
    }
}

#[test]
fn errors_and_panics_name_the_key() {
    let pairs = encode(&[("a".to_string(), 1), ("b\n\u{1b}".to_string(), 2)]);
    let reduce = |panics| {
        program(Failing { panics })
            .reduce(PART, &mut Batches::new(&pairs, 9), &mut Disk::new())
            .unwrap_err()
    };
    let key = "b\\n\\u{1b}".to_string();
    let place = RecordPlace::of_key(key.clone());
    assert_eq!(reduce(false), FailureCause::UserError { place, message: "bad key".into() });
    let FailureCause::UserPanic { place, message } = reduce(true) else { panic!("not a panic") };
    assert_eq!((place.key, message.as_str()), (Some(key), "no key like that"));
    assert!(place.source.is_some_and(|source| source.starts_with(file!())));
}

#[test]
fn a_combiner_that_fails_names_the_key() {
    let pairs = encode(&[("a".to_string(), u64::MAX), ("a".to_string(), 1)]);
    let error = program(Sum).combine(&mut Batches::new(&pairs, 1), &mut Disk::new()).unwrap_err();
    assert_eq!(error.to_string(), "key a: the sum overflows u64: emit a wider type");
}

#[test]
fn malformed_bytes_are_an_error_of_the_group() {
    let pairs = vec![(vec![0xff], vec![])];
    let error =
        program(Sum).reduce(PART, &mut Batches::new(&pairs, 1), &mut Disk::new()).unwrap_err();
    assert_eq!(error.to_string(), "key \\xff: malformed key: not the encoding of a str");
    let pairs = vec![(b"a".to_vec(), vec![1; 9])];
    let error =
        program(Sum).reduce(PART, &mut Batches::new(&pairs, 1), &mut Disk::new()).unwrap_err();
    assert_eq!(error.to_string(), "key a: malformed value: not the encoding of a u64");
}

#[test]
fn long_output_is_written_in_pieces() {
    struct Writes(Vec<usize>);
    impl PartSink for Writes {
        fn write(&mut self, bytes: &[u8]) -> Result<(), FailureCause> {
            assert!(bytes.ends_with(b"\n"), "whole records only");
            self.0.push(bytes.len());
            Ok(())
        }
    }
    let pairs = encode(&(0..100_000).map(|n| (format!("{n:08}"), 1)).collect::<Vec<_>>());
    let mut writes = Writes(Vec::new());
    program(Sum).reduce(PART, &mut Batches::new(&pairs, 1000), &mut writes).unwrap();
    assert_eq!(writes.0.iter().sum::<usize>(), 100_000 * 11);
    assert!(writes.0.len() > 3 && writes.0.iter().all(|len| *len < 300 << 10), "{:?}", writes.0);
}

/// Emits each value, and fails at a bad one after it has emitted others.
struct Picky;

impl Reducer<str, u64> for Picky {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        while let Some(value) = values.next()? {
            match value {
                0 => return Err(Error::new("zero")),
                1 => panic!("one"),
                value => out.emit(key, value)?,
            }
            out.count("values", 1);
        }
        Ok(())
    }
}

fn skips() -> BadRecordPolicy {
    BadRecordPolicy { skips_bad_records: true, ..BadRecordPolicy::default() }
}

proptest! {
    #[test]
    fn a_bad_group_leaves_nothing_and_the_others_everything(
        pairs in vec(("[ab]{0,2}", 0..9_u64), 0..60), batch_records in 1..20_usize,
    ) {
        let is_bad = |key: &str| pairs.iter().any(|(of, value)| of == key && *value < 2);
        let good: Vec<_> = pairs.iter().filter(|(key, _)| !is_bad(key)).cloned().collect();
        let (all, good) = (encode(&pairs), encode(&good));
        let (mut found, mut expected) = (Disk::new(), Disk::new());
        let mut keys = Vec::new();
        let program = program(Picky);
        let summary = program.reduce_skipping(
            PART,
            &mut Batches::new(&all, batch_records),
            &mut found,
            &skips(),
            &mut |bad| {
                keys.push(bad.place.key.unwrap());
                Ok(())
            },
        ).unwrap();
        let of_good = program.reduce(PART, &mut Batches::new(&good, 1), &mut expected).unwrap();
        prop_assert_eq!(found.text(), expected.text());
        prop_assert_eq!(summary.output_records, of_good.output_records);
        prop_assert_eq!(summary.counters, of_good.counters);
        prop_assert_eq!(summary.input_records, pairs.len() as u64);
        let mut bad: Vec<_> = pairs.iter().map(|(key, _)| key.clone()).filter(|key| is_bad(key)).collect();
        bad.sort();
        bad.dedup();
        prop_assert_eq!(keys, bad);
    }
}

#[test]
fn a_failure_that_is_not_a_groups_fault_is_not_skipped() {
    let pairs = two_pairs();
    let mut never = |_| panic!("nothing is to be skipped");
    let broken = FailureCause::Corrupt { file: "s".into(), offset: 7, message: "crc".into() };
    let mut source = Batches { failure: Some(broken.clone()), ..Batches::new(&pairs, 1) };
    let failed = program(Careless::Panics).reduce_skipping(
        PART,
        &mut source,
        &mut Disk::new(),
        &skips(),
        &mut never,
    );
    assert_eq!(failed, Err(broken));
    let mut full = Disk { bytes_max: 3, ..Disk::new() };
    let mut source = Batches::new(&pairs, 1);
    let failed = program(Careless::Replaces).reduce_skipping(
        PART,
        &mut source,
        &mut full,
        &skips(),
        &mut never,
    );
    assert_eq!(failed, Err(disk_full()));
    // More has been written than can be undone.
    let long = encode(&[("x".repeat(5 << 20), 2), ("x".repeat(5 << 20), 3)]);
    let mut source = Batches::new(&long, 1);
    let failed = program(FailsAtEnd).reduce_skipping(
        PART,
        &mut source,
        &mut Disk::new(),
        &skips(),
        &mut never,
    );
    assert!(matches!(failed, Err(FailureCause::UserError { .. })), "{failed:?}");
}

/// Emits each value, and then fails.
struct FailsAtEnd;

impl Reducer<str, u64> for FailsAtEnd {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        while let Some(value) = values.next()? {
            out.emit(key, value)?;
        }
        Err(Error::new("too late"))
    }
}

/// The keys that user code has processed, without the current one.
#[derive(Debug, Default)]
struct Keys(Mutex<(Option<String>, Vec<String>)>);

impl Breadcrumb for Keys {
    fn enter(&self, place: &RecordPlace) -> Result<(), FailureCause> {
        let former = self.0.lock().unwrap().0.replace(place.key.clone().unwrap());
        assert_eq!(former, None);
        Ok(())
    }

    fn leave(&self) -> Result<(), FailureCause> {
        let mut keys = self.0.lock().unwrap();
        let key = keys.0.take();
        keys.1.extend(key);
        Ok(())
    }
}

#[test]
fn breadcrumbs_name_each_group_and_poison_is_not_tried() {
    // They differ only beyond the part that is displayed.
    let long = ["a", "b"].map(|end| "x".repeat(200) + end);
    let pairs = encode(&[("a".into(), 2), (long[0].clone(), 1), (long[1].clone(), 2)]);
    let keys = Arc::new(Keys::default());
    let breadcrumb = Some(Arc::clone(&keys) as Arc<dyn Breadcrumb>);
    let reduce = |policy: &BadRecordPolicy, skipped: &mut Vec<BadRecord>| {
        let (mut source, mut part) = (Batches::new(&pairs, 1), Disk::new());
        let reduced =
            program(Picky).reduce_skipping(PART, &mut source, &mut part, policy, &mut |bad| {
                skipped.push(bad);
                Ok(())
            });
        reduced.map(|_| part.text().to_string())
    };
    let watching = BadRecordPolicy { breadcrumb, ..BadRecordPolicy::default() };
    let Err(FailureCause::UserPanic { .. }) = reduce(&watching, &mut Vec::new()) else {
        panic!("a bad group was left out unasked")
    };
    let seen = std::mem::take(&mut keys.0.lock().unwrap().1);
    assert_eq!((seen.len(), &*seen[0]), (2, "a"));
    let place = RecordPlace::of_key(seen[1].clone());
    let poison = BadRecord { place, message: "it kills".into(), record: None };
    let policy =
        BadRecordPolicy { skips_bad_records: true, poison: [poison.clone()].into(), ..watching };
    let mut skipped = Vec::new();
    assert_eq!(reduce(&policy, &mut skipped), Ok(format!("a\t2\n{}\t2\n", long[1])));
    assert_eq!(skipped, [poison]);
}
