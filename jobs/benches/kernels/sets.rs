//! Combines strings. Most keys are rare, so most of the time is spent waiting for memory.

use std::collections::HashMap;

use windrow_jobs::collect::{Collected, CollectorSetup, Unlimited};
use windrow_jobs::input::Chunk;
use windrow_jobs::prelude::*;

use crate::{measure, scrambled};

const PAIRS: u64 = 4_000_000;
const CHUNK_PAIRS: u64 = 100_000;
const KEYS: f64 = 1_500_000.0;

/// Emits each word with its file.
struct Files;

impl Mapper for Files {
    type Input = Line;
    type Key = str;
    type Value = str;

    fn map(&self, line: &str, out: &mut impl Emit<str, str>) -> Result<()> {
        line.split_once(' ').map_or(Ok(()), |(word, file)| out.emit(word, file))
    }
}

/// A list of all files.
struct Append;

impl Combiner<str> for Append {
    type Accumulator = String;

    fn start(&self, files: &str) -> Result<String> {
        Ok(files.to_string())
    }

    fn add(&self, list: &mut String, files: &str) -> Result<()> {
        append(list, files);
        Ok(())
    }

    fn heap_bytes(&self, list: &String) -> usize {
        list.capacity()
    }

    fn finish<'a>(&self, list: &'a String) -> &'a str {
        list
    }
}

fn append(list: &mut String, files: &str) {
    if !list.ends_with(files) {
        list.push(',');
        list.push_str(files);
    }
}

/// Combines the files of each word, also by hand.
pub fn run() {
    let chunks: Vec<String> = (0..PAIRS / CHUNK_PAIRS).map(chunk).collect();
    println!("{PAIRS} names of files, by up to {KEYS} keys:");
    measure("  HashMap of strings", HashMap::<&str, String>::new, |lists| {
        for (key, file) in chunks.iter().flat_map(|c| c.lines()).filter_map(|l| l.split_once(' ')) {
            match lists.get_mut(key) {
                Some(list) => append(list, file),
                None => drop(lists.insert(key, file.to_string())),
            }
        }
        PAIRS as usize
    });
    let program = Job::new("files", Files).combine(Append).reduce(Identity).build("{}");
    let Ok(program) = program else { panic!("it has no parameters") };
    let setup = CollectorSetup { partitions: 4, ..CollectorSetup::default() };
    measure(
        "  combiner, and taken out",
        || program.clone().collector(&setup),
        |collector| {
            for chunk in &chunks {
                let chunk = Chunk::new("files", chunk.as_bytes());
                assert!(collector.map_chunk(&chunk, &mut Unlimited).is_ok());
            }
            let taken = collector.take();
            assert!(matches!(taken, Ok(Collected::Pairs(pairs)) if pairs.len() > 100_000));
            PAIRS as usize
        },
    );
}

/// The text of a chunk; each chunk is of one file.
fn chunk(number: u64) -> String {
    let pairs = (0..CHUNK_PAIRS).map(|index| {
        let random = scrambled(number * CHUNK_PAIRS + index + 1);
        let rank = KEYS.powf((random >> 11) as f64 / (1_u64 << 53) as f64) as u64;
        format!("{:x} /data/text/part-{:05}.txt\n", scrambled(rank) >> 24, number / 4)
    });
    pairs.collect()
}
