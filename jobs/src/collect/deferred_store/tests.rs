//! Tests of the store of values that own memory, through jobs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::collect::{Collected, Collector, CollectorSetup, MemoryBudget, RecordBuffer, Unlimited};
use crate::error::Error;
use crate::failure::FailureCause;
use crate::input::Chunk;
use crate::prelude::*;
use crate::value::Serde;

/// Splits lines at their first blank into key and value.
struct Pairs;

impl Mapper for Pairs {
    type Input = Line;
    type Key = str;
    type Value = str;

    fn map(&self, line: &str, out: &mut impl Emit<str, str>) -> Result<()> {
        line.split_once(' ').map_or(Ok(()), |(key, value)| out.emit(key, value))
    }
}

/// All distinct values of a key, sorted. Refuses one value.
struct Union;

impl Combiner<str> for Union {
    type Accumulator = (BTreeSet<String>, String);

    fn start(&self, values: &str) -> Result<Self::Accumulator> {
        let mut set = Default::default();
        Combiner::<str>::add(self, &mut set, values)?;
        Ok(set)
    }

    fn add(&self, set: &mut Self::Accumulator, values: &str) -> Result<()> {
        if values == "refused" {
            return Err(Error::new("no such value"));
        }
        set.0.extend(values.split(',').map(str::to_string));
        set.1 = set.0.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        Ok(())
    }

    fn heap_bytes(&self, set: &Self::Accumulator) -> usize {
        set.1.capacity()
    }

    fn finish<'a>(&self, set: &'a Self::Accumulator) -> &'a str {
        &set.1
    }
}

/// The same for lists, whose encoding is not their bytes.
struct Lists;

impl Mapper for Lists {
    type Input = Line;
    type Key = str;
    type Value = Serde<Vec<String>>;

    fn map(&self, line: &str, out: &mut impl Emit<str, Self::Value>) -> Result<()> {
        let Some((key, value)) = line.split_once(' ') else { return Ok(()) };
        out.emit(key, &value.split(',').map(str::to_string).collect())
    }
}

impl Combiner<Serde<Vec<String>>> for Union {
    type Accumulator = Vec<String>;

    fn start(&self, values: &Vec<String>) -> Result<Vec<String>> {
        if values == &["refused"] {
            return Err(Error::new("no such value"));
        }
        let set: BTreeSet<_> = values.iter().cloned().collect();
        Ok(set.into_iter().collect())
    }

    fn add(&self, list: &mut Vec<String>, values: &Vec<String>) -> Result<()> {
        let set: BTreeSet<_> = list.drain(..).chain(values.iter().cloned()).collect();
        list.extend(set);
        Ok(())
    }

    fn finish<'a>(&self, list: &'a Vec<String>) -> &'a Vec<String> {
        list
    }
}

fn collector(job: &Job) -> Box<dyn Collector> {
    let setup = CollectorSetup { partitions: 2, ..CollectorSetup::default() };
    job.build("{}").unwrap().collector(&setup)
}

fn strings() -> Job {
    Job::new("strings", Pairs).combine(Union).reduce(Identity)
}

fn lists() -> Job {
    Job::new("lists", Lists).combine(Union).reduce(Identity)
}

fn pairs(buffer: &RecordBuffer) -> Vec<(String, Vec<u8>)> {
    let all = (0..buffer.partitions()).flat_map(|partition| {
        (0..buffer.partition_len(partition)).map(move |index| buffer.get(partition, index))
    });
    all.map(|r| (String::from_utf8(r.key.to_vec()).unwrap(), r.value.to_vec())).collect()
}

fn taken(collector: &mut dyn Collector) -> Vec<(String, Vec<u8>)> {
    match collector.take().unwrap() {
        Collected::Pairs(buffer) => pairs(&buffer),
        Collected::Output { .. } => panic!("not a map-only job"),
    }
}

/// A budget of this many bytes, which keeps the spilled pairs.
struct Tight {
    bytes: usize,
    spilled: Vec<(String, Vec<u8>)>,
}

impl MemoryBudget for Tight {
    fn grow(&mut self, bytes: usize) -> bool {
        bytes <= self.bytes
    }

    fn spill(&mut self, buffer: RecordBuffer) -> Result<RecordBuffer, FailureCause> {
        self.spilled.extend(pairs(&buffer));
        Ok(RecordBuffer::new(buffer.partitions()))
    }
}

proptest! {
    /// Keys of all classes of length, with few or many values, small and large.
    #[test]
    fn values_are_combined_wherever_they_wait(
        lines in vec(("[a-c]|[ab]{20}|[ab]{33}", prop_oneof![
            8 => "[a-f]{1,3}",
            1 => "[a-z]{250,260}",
        ]), 0..200),
    ) {
        let mut expected = BTreeMap::<&str, BTreeSet<&str>>::new();
        for (key, value) in &lines {
            expected.entry(key).or_default().insert(value);
        }
        let text: String = lines.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        let chunk = Chunk::new("hay.txt", text.as_bytes());
        let mut collector_of_strings = collector(&strings());
        collector_of_strings.map_chunk(&chunk, &mut Unlimited).unwrap();
        let found: BTreeMap<_, _> = taken(&mut *collector_of_strings).into_iter().collect();
        let joined = |set: &BTreeSet<&str>| set.iter().copied().collect::<Vec<_>>().join(",");
        let all: BTreeMap<_, _> =
            expected.iter().map(|(key, set)| (key.to_string(), joined(set).into_bytes())).collect();
        // A single value is not combined; here, combining would not change it.
        prop_assert_eq!(found, all);
        let mut collector_of_lists = collector(&lists());
        collector_of_lists.map_chunk(&chunk, &mut Unlimited).unwrap();
        for (key, value) in taken(&mut *collector_of_lists) {
            let list = <Serde<Vec<String>>>::decode(&value).unwrap();
            prop_assert!(list.iter().eq(&expected[&*key]), "{}: {:?}", key, list);
        }
    }
}

#[test]
fn spilled_and_remaining_pairs_are_complete_and_memory_is_bounded() {
    let lines: Vec<_> = (0..20_000).map(|n| format!("{} v{}\n", n * 7 % 1500, n % 37)).collect();
    for job in [strings(), lists()] {
        let mut collector = collector(&job);
        let empty = collector.memory_bytes();
        let mut memory = Tight { bytes: 128 << 10, spilled: Vec::new() };
        for lines in lines.chunks(100) {
            collector
                .map_chunk(&Chunk::new("hay.txt", lines.concat().as_bytes()), &mut memory)
                .unwrap();
            // Queues and a few values come on top of the granted memory.
            assert!(collector.memory_bytes() < (128 << 10) + (16 << 10));
        }
        assert_eq!(collector.emitted().unwrap().records, 20_000);
        memory.spilled.extend(taken(&mut *collector));
        assert_eq!(collector.memory_bytes(), empty);
        assert!(memory.spilled.len() > 3000, "nothing was spilled");
        let keys: BTreeSet<_> = memory.spilled.iter().map(|pair| &pair.0).collect();
        assert_eq!(keys.len(), 1500);
    }
}

#[test]
fn a_refused_value_names_its_key_even_after_waiting() {
    let mut early = collector(&strings());
    // So many different values that they do not all wait.
    let others: String = (0..30).map(|n| format!("barn {n}\n")).collect();
    let text = format!("barn refused\n{others}");
    let error = early.map_chunk(&Chunk::new("hay.txt", text.as_bytes()), &mut Unlimited);
    assert_eq!(error.unwrap_err().to_string(), "hay.txt: key 'barn': no such value");
    let mut late = collector(&strings());
    let chunk = Chunk::new("hay.txt", b"barn fine\nbarn refused\n");
    late.map_chunk(&chunk, &mut Unlimited).unwrap();
    assert_eq!(late.take().unwrap_err().to_string(), "key 'barn': no such value");
}

/// What has to be encoded to wait is folded as it is once its key is frequent, also where it
/// repeats.
#[test]
fn a_frequent_key_does_not_encode_its_values() {
    let text = "barn refused\n".repeat(20);
    let chunk = Chunk::new("hay.txt", text.as_bytes());
    let error = collector(&lists()).map_chunk(&chunk, &mut Unlimited).unwrap_err();
    assert_eq!(error.to_string(), "hay.txt at byte 156: no such value");
    // Strings wait as they are, and their repetitions are only counted.
    collector(&strings()).map_chunk(&chunk, &mut Unlimited).unwrap();
}
