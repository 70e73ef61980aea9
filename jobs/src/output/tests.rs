//! Tests an output with header, sections and footer: frames with checksums and an index at the end,
//! written by reduce tasks and map-only tasks.

use proptest::collection::vec;
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::bad_records::BadRecord;
use crate::collect::{
    BufferBatches, Collected, CollectorSetup, MemoryBudget, RecordBuffer, Sections,
};
use crate::failure::FailureCause;
use crate::input::Chunk;
use crate::pairs::RecordRef;
use crate::prelude::*;
use crate::program::PartSink;
use crate::user_code::BadRecordPolicy;

const PART: PartInfo = PartInfo::new(7);

/// Frames of this many lines.
#[derive(Clone, Copy)]
struct Frames(usize);

/// Keeps its lines until the frame is complete, since the frame's size comes first.
struct Frame {
    lines_max: usize,
    lines: Vec<u8>,
    count: usize,
}

#[derive(Default)]
struct Index {
    entries: Vec<u8>,
    records: u64,
}

impl Output<str, u64> for Frames {
    type Part = Index;
    type Section = Frame;

    fn begin(&self, part: PartInfo, out: &mut Vec<u8>) -> Result<Index> {
        out.extend(part.number.to_le_bytes());
        Ok(Index::default())
    }

    fn section(&self) -> Frame {
        Frame { lines_max: self.0, lines: Vec::new(), count: 0 }
    }
}

impl SectionEncoder<str, u64> for Frame {
    type Summary = u64;
    type Mark = (usize, usize);

    fn write(&mut self, key: &str, value: u64, _out: &mut Vec<u8>) -> Result<()> {
        self.lines.extend_from_slice(format!("{key}={value}\n").as_bytes());
        self.count += 1;
        assert_ne!(value, PANICS, "in the middle of a pair");
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.count >= self.lines_max
    }

    fn held_bytes(&self) -> usize {
        self.lines.len()
    }

    fn mark(&mut self) -> (usize, usize) {
        (self.lines.len(), self.count)
    }

    fn undo(&mut self, (len, count): (usize, usize)) {
        self.lines.truncate(len);
        self.count = count;
    }

    fn finish(self, out: &mut Vec<u8>) -> Result<u64> {
        out.extend((self.lines.len() as u64).to_le_bytes());
        out.extend(&self.lines);
        Ok(xxh3_64(&self.lines))
    }
}

impl PartEncoder<u64> for Index {
    fn append(&mut self, section: Section<u64>) -> Result<()> {
        let Section { offset, bytes, records, summary } = section;
        self.entries.extend([offset, bytes, records, summary].iter().flat_map(|n| n.to_le_bytes()));
        self.records += records;
        Ok(())
    }

    fn finish(self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(&self.entries);
        out.extend(self.records.to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        Ok(())
    }
}

/// The lines of a part and the number of lines in each frame, found through the index. Checks that
/// there are no other bytes.
fn read(part: &[u8]) -> (Vec<String>, Vec<u64>) {
    let number = |at: usize| u64::from_le_bytes(part[at..at + 8].try_into().unwrap());
    let mut end = part.len() - 16 - number(part.len() - 8) as usize;
    let index = end;
    let (mut lines, mut frames, mut next) = (Vec::new(), Vec::new(), 4);
    assert_eq!(part[..next], PART.number.to_le_bytes());
    while end < part.len() - 16 {
        let [offset, bytes, records, checksum] = [0, 8, 16, 24].map(|field| number(end + field));
        assert_eq!(offset, next as u64, "frames are contiguous");
        assert_eq!(bytes, 8 + number(next));
        let text = &part[next + 8..next + bytes as usize];
        assert_eq!(xxh3_64(text), checksum);
        let frame: Vec<_> = str::from_utf8(text).unwrap().lines().map(str::to_string).collect();
        assert_eq!(frame.len() as u64, records);
        assert!(records > 0, "sections without pairs are omitted");
        lines.extend(frame);
        frames.push(records);
        next += bytes as usize;
        end += 32;
    }
    assert_eq!(next, index, "only frames come before the index");
    assert_eq!(number(part.len() - 16), lines.len() as u64);
    (lines, frames)
}

/// A part in memory.
#[derive(Default)]
struct Part(Vec<u8>);

impl PartSink for Part {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FailureCause> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// A value at which user code fails after it has written other values.
const FAILS: u64 = 1_000;
/// A value at which the encoder panics in the middle of a pair.
const PANICS: u64 = 1_001;

/// `key value`
struct Pairs;

impl Mapper for Pairs {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        let (key, value) = line.split_once(' ').ok_or_else(|| Error::new("no space"))?;
        out.emit(key, value.parse().map_err(|_| Error::new("no number"))?)
    }
}

/// Emits all values.
struct All;

impl Reducer<str, u64> for All {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        while let Some(value) = values.next()? {
            if value == FAILS {
                return Err(Error::new("a bad value"));
            }
            out.emit(key, value)?;
        }
        Ok(())
    }
}

type Reduced = Result<(Part, u64), FailureCause>;

/// Reduces pairs; with `bad`, skips bad groups and lists them there.
fn reduce(pairs: &[(String, u64)], lines: usize, bad: Option<&mut Vec<String>>) -> Reduced {
    let program = Job::new("frames", Pairs).output(Frames(lines)).reduce(All).build("{}").unwrap();
    let mut buffer = RecordBuffer::new(1);
    for (key, value) in pairs {
        let mut bytes = Vec::new();
        <u64 as Value>::encode(*value, &mut bytes).unwrap();
        buffer.push(0, RecordRef { key: key.as_bytes(), value: &bytes }).unwrap();
    }
    buffer.sort();
    let (mut part, mut batches) = (Part::default(), BufferBatches::new(&buffer, 0));
    let summary = match bad {
        None => program.reduce(PART, &mut batches, &mut part)?,
        Some(bad) => {
            let policy = BadRecordPolicy { skips_bad_records: true, ..BadRecordPolicy::default() };
            let mut skipped = |record: BadRecord| {
                bad.push(record.place.key.unwrap_or_default());
                Ok(())
            };
            program.reduce_skipping(PART, &mut batches, &mut part, &policy, &mut skipped)?
        }
    };
    Ok((part, summary.output_records))
}

fn lines_of<'a>(pairs: impl IntoIterator<Item = &'a (String, u64)>) -> Vec<String> {
    let mut lines: Vec<_> = pairs.into_iter().collect();
    lines.sort_by_key(|(key, value)| (key.clone(), *value));
    lines.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn groups() -> impl Strategy<Value = Vec<(String, u64)>> {
    let value = prop_oneof![20 => 0..100_u64, 1 => Just(FAILS), 1 => Just(PANICS)];
    vec(("[a-j]", value), 0..60)
}

/// A budget of no memory: everything is spilled at once.
struct NoMemory {
    part: Part,
    sections: Vec<Sections>,
    records: u64,
}

impl MemoryBudget for NoMemory {
    fn grow(&mut self, _bytes: usize) -> bool {
        false
    }

    fn spill(&mut self, _pairs: RecordBuffer) -> Result<RecordBuffer, FailureCause> {
        unreachable!("a map-only job has no pairs")
    }

    fn spill_output(
        &mut self,
        bytes: Vec<u8>,
        records: u64,
        sections: Sections,
    ) -> Result<(), FailureCause> {
        self.records += records;
        self.sections.push(sections);
        self.part.write(&bytes)
    }
}

/// Maps each chunk with its own collector, as threads do, and assembles the part. Returns the
/// number of skipped records, too.
fn map(chunks: &[String], lines: usize, policy: BadRecordPolicy) -> (Part, u64, usize) {
    let program = Job::new("frames", Pairs).output(Frames(lines)).map_only().build("{}").unwrap();
    let mut part = Part::default();
    let mut frame = program.begin_part(PART, &mut part).unwrap();
    let (mut records, mut skipped) = (0, 0);
    for chunk in chunks {
        let setup = CollectorSetup { bad_records: policy.clone(), ..CollectorSetup::default() };
        let mut collector = program.clone().collector(&setup);
        let mut memory = NoMemory { part: Part::default(), sections: Vec::new(), records: 0 };
        collector.map_chunk(&Chunk::new("a", chunk.as_bytes()), &mut memory).unwrap();
        let Collected::Output { bytes, records: last, sections } = collector.take().unwrap() else {
            unreachable!("a map-only job collects output")
        };
        memory.spill_output(bytes, last, sections).unwrap();
        part.write(&memory.part.0).unwrap();
        memory.sections.into_iter().for_each(|sections| frame.append(sections).unwrap());
        records += memory.records;
        skipped += collector.take_skipped().len();
    }
    frame.finish(&mut part).unwrap();
    (part, records, skipped)
}

proptest! {
    #[test]
    fn a_reduced_part_has_its_frames_and_no_bad_groups(pairs in groups(), lines in 1..9_usize) {
        let is_bad = |(_, value): &&(String, u64)| *value >= FAILS;
        let bad_keys: Vec<_> = pairs.iter().filter(is_bad).map(|(key, _)| key.clone()).collect();
        let good = pairs.iter().filter(|(key, _)| !bad_keys.contains(key));
        let mut bad = Vec::new();
        let (part, records) = reduce(&pairs, lines, Some(&mut bad)).unwrap();
        let (kept, frames) = read(&part.0);
        prop_assert_eq!(kept, lines_of(good));
        prop_assert_eq!(frames.iter().sum::<u64>(), records);
        let mut expected = bad_keys.clone();
        expected.sort();
        expected.dedup();
        prop_assert_eq!(&bad, &expected);

        let plain = reduce(&pairs, lines, None);
        prop_assert_eq!(plain.is_ok(), bad_keys.is_empty());
        if let Ok((part, _)) = plain {
            let (_, frames) = read(&part.0);
            let (last, whole) = frames.split_last().unwrap_or((&0, &[]));
            prop_assert!(whole.iter().all(|records| *records == lines as u64) && *last <= lines as u64);
        }
    }

    #[test]
    fn a_mapped_part_has_the_frames_of_its_chunks(
        chunks in vec(vec(prop_oneof![9 => "[a-c] [0-9]", 1 => "[a-c]"], 0..9), 0..5),
        lines in 1..9_usize,
    ) {
        let good = |line: &&String| line.contains(' ');
        let all = || chunks.iter().flatten();
        let expected: Vec<_> = all().filter(good).map(|line| line.replace(' ', "=")).collect();
        let texts: Vec<_> = chunks.iter().map(|lines| lines.join("\n")).collect();
        let policy = BadRecordPolicy { skips_bad_records: true, ..BadRecordPolicy::default() };
        let (part, records, skipped) = map(&texts, lines, policy);
        prop_assert_eq!(read(&part.0).0, expected);
        prop_assert_eq!(records + skipped as u64, all().count() as u64);
    }
}

#[test]
fn a_frame_ends_early_when_memory_is_short() {
    let text: String = (0..50_000).map(|n| format!("key{n:020} {}\n", n % 100)).collect();
    let (part, records, _) = map(&[text], usize::MAX, BadRecordPolicy::default());
    let (lines, frames) = read(&part.0);
    assert_eq!((lines.len(), records), (50_000, 50_000));
    assert!(frames.len() > 3, "the encoder itself would have one: {frames:?}");
}

#[test]
fn a_bad_group_is_undone_up_to_eight_megabytes() {
    let group = |key: &str, pairs: u64| {
        let key = key.repeat(1_000);
        (0..pairs).map(|n| (key.clone(), n % FAILS)).chain([(key.clone(), FAILS)]).collect()
    };
    let good = ("a".to_string(), 1);
    let mut short: Vec<_> = group("b", 4_000);
    short.push(good.clone());
    let mut bad = Vec::new();
    let (part, _) = reduce(&short, 10, Some(&mut bad)).unwrap();
    assert_eq!((read(&part.0).0, bad.len()), (lines_of([&good]), 1));
    let long: Vec<_> = group("b", 10_000);
    let failed = reduce(&long, 10, Some(&mut bad)).err().unwrap();
    assert!(failed.to_string().contains("a bad value"), "{failed}");
}

/// An encoder that fails at the end of a section, and user code that does not listen.
#[test]
fn a_section_that_cannot_be_ended_fails_the_attempt() {
    #[derive(Clone, Copy)]
    struct Broken;
    struct BrokenSection;
    impl Output<str, u64> for Broken {
        type Part = ();
        type Section = BrokenSection;
        fn begin(&self, _part: PartInfo, _out: &mut Vec<u8>) -> Result<()> {
            Ok(())
        }
        fn section(&self) -> BrokenSection {
            BrokenSection
        }
    }
    impl SectionEncoder<str, u64> for BrokenSection {
        type Summary = ();
        type Mark = ();
        fn write(&mut self, _key: &str, _value: u64, out: &mut Vec<u8>) -> Result<()> {
            out.push(b'x');
            Ok(())
        }
        fn is_full(&self) -> bool {
            true
        }
        fn mark(&mut self) {}
        fn undo(&mut self, (): ()) {}
        fn finish(self, _out: &mut Vec<u8>) -> Result<()> {
            Err(Error::new("no codec"))
        }
    }
    struct Deaf;
    impl Mapper for Deaf {
        type Input = Line;
        type Key = str;
        type Value = u64;
        fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
            let _ = out.emit(line, 1);
            Ok(())
        }
    }
    impl Reducer<str, u64> for Deaf {
        type OutputKey = str;
        type OutputValue = u64;
        fn reduce(
            &self,
            key: &str,
            _values: &mut Values<'_, u64>,
            out: &mut impl Emit<str, u64>,
        ) -> Result<()> {
            let _ = out.emit(key, 1);
            Ok(())
        }
    }
    let mapped = Job::new("broken", Deaf).output(Broken).map_only();
    let reduced = Job::new("broken", Deaf).output(Broken).reduce(Deaf);
    for job in [mapped, reduced] {
        let failed = crate::testing::run(&job, "{}", &[("a", "b\nc\n")]).unwrap_err();
        assert!(failed.to_string().ends_with("no codec"), "{failed}");
    }
}

#[test]
fn parts_without_pairs_have_header_and_footer() {
    let (part, records) = reduce(&[], 3, None).unwrap();
    assert_eq!((read(&part.0), records), ((vec![], vec![]), 0));
    let (part, ..) = map(&[], 3, BadRecordPolicy::default());
    assert_eq!(read(&part.0), (vec![], vec![]));
}
