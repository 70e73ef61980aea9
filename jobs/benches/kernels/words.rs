//! Splits text into words and counts them, through a mapper's emitter as in a job.

use std::collections::HashMap;
use std::hint::black_box;

use windrow_jobs::collect::{Collector, CollectorSetup, Unlimited};
use windrow_jobs::input::{Chunk, Format, Framing, Position, RecordError};
use windrow_jobs::prelude::*;
use windrow_jobs::scan;

use crate::measure;

const CHUNK_BYTES: usize = 4 << 20;

/// Emits the words of a record of format `F`.
struct Words<F>(F);

impl Mapper for Words<Line> {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        scan::words(line.as_bytes(), |word| out.emit(&line[word], 1))
    }
}

impl Mapper for Words<Whole> {
    type Input = Whole;
    type Key = [u8];
    type Value = u64;

    fn map(&self, text: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        scan::words(text, |word| out.emit(&text[word], 1))
    }
}

/// A chunk as one record, so that only the kernels are measured.
#[derive(Default)]
struct Whole;

impl Format for Whole {
    type Record<'a> = &'a [u8];

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, &'a [u8]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        each(chunk.position(0), chunk.bytes)
    }
}

/// Splits and counts, also by hand.
pub fn run(text: &str) {
    let words = text.split_ascii_whitespace().count();
    println!("{words} words of {:.1} bytes:", text.len() as f64 / words as f64 - 1.0);
    measure(
        "  split_ascii_whitespace",
        || (),
        |()| text.split_ascii_whitespace().map(black_box).count(),
    );
    measure(
        "  scan::words",
        || (),
        |()| {
            let mut count = 0;
            let each = |word| {
                black_box::<std::ops::Range<usize>>(word);
                count += 1;
                Ok::<(), ()>(())
            };
            assert_eq!(scan::words(text.as_bytes(), each), Ok(()));
            count
        },
    );
    measure(
        "  count by hand: std HashMap of &str",
        || (),
        |()| {
            let mut counts = HashMap::<&str, u64>::new();
            text.split_ascii_whitespace().for_each(|word| *counts.entry(word).or_default() += 1);
            words.max(counts.len())
        },
    );
    let lines = Job::new("lines", Words(Line)).combine(Sum).reduce(Sum);
    let whole = Job::new("whole", Words(Whole)).combine(Sum).reduce(Sum);
    for (what, job) in [("lines", &lines), ("whole chunks", &whole)] {
        let what = format!("  count {what}: scan::words, table");
        measure(
            &what,
            || collector(job),
            |collector| {
                map(&mut **collector, text);
                words
            },
        );
    }
    let filled = || {
        let mut collector = collector(&whole);
        map(&mut *collector, text);
        collector
    };
    measure("  take the table into a buffer, per key", filled, |collector| {
        match collector.take() {
            Ok(windrow_jobs::collect::Collected::Pairs(buffer)) => buffer.len(),
            other => panic!("{other:?}"),
        }
    });
}

fn collector(job: &Job) -> Box<dyn Collector> {
    match job.build("{}") {
        Ok(program) => {
            program.collector(&CollectorSetup { partitions: 2, ..CollectorSetup::default() })
        }
        Err(error) => panic!("{error}"),
    }
}

fn map(collector: &mut dyn Collector, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.as_bytes().iter().skip(CHUNK_BYTES).position(|byte| *byte == b'\n');
        let (chunk, after) = rest.split_at(end.map_or(rest.len(), |end| CHUNK_BYTES + end + 1));
        let chunk = Chunk::new("text", chunk.as_bytes());
        assert!(collector.map_chunk(&chunk, &mut Unlimited).is_ok());
        rest = after;
    }
}
