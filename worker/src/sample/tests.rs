use std::fs;

use tempfile::TempDir;
use windrow_jobs::prelude::*;

use super::*;
use crate::testing::whole_file;

const PARTITIONS: u32 = 4;

/// Each line is a key; one that is `bad` is an error.
struct Lines;

impl Mapper for Lines {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        if line == "bad" { Err(Error::new("a bad line")) } else { out.emit(line, 1) }
    }
}

fn sort() -> Arc<dyn Program> {
    Job::new("sort", Lines).sort().build("{}").unwrap()
}

/// Counts lines, in order.
fn count() -> Arc<dyn Program> {
    Job::new("count", Lines).combine(Sum).ordered().reduce(Sum).build("{}").unwrap()
}

/// Writes the texts to files, and returns all of each file.
fn write(dir: &TempDir, texts: &[String]) -> Vec<InputRange> {
    let file = |(number, text): (usize, &String)| {
        let path = dir.path().join(format!("{number:04}"));
        fs::write(&path, text).unwrap();
        InputRange { file_number: number as u32, ..whole_file(&path) }
    };
    texts.iter().enumerate().map(file).collect()
}

/// A piece of every so many bytes of each file, at places that vary.
fn pieces(files: &[InputRange]) -> Vec<SamplePiece> {
    let total: u64 = files.iter().map(InputRange::bytes).sum();
    let step = total.div_ceil(256).max(32 << 10);
    let mut pieces = Vec::new();
    for file in files {
        for start in (0..file.range.end).step_by(step as usize) {
            let stratum = pieces.len() as u32;
            let bytes = (file.range.end - start).min(32 << 10);
            let slack = step.min(file.range.end - start) - bytes;
            let start = start + slack * (u64::from(stratum) * 618 % 1_000) / 1_000;
            let range = InputRange { range: start..start + bytes, ..file.clone() };
            pieces.push(SamplePiece { stratum, input: 0, range });
        }
    }
    pieces
}

/// The pairs of each partition, sorted, after checking that the partitions are in order.
fn parts(program: &Arc<dyn Program>, texts: &[String]) -> Vec<Vec<Vec<u8>>> {
    let dir = tempfile::tempdir().unwrap();
    let files = write(&dir, texts);
    let within_keys = !program.has_combiner();
    let points = split_points(&pieces(&files), program, PARTITIONS, within_keys);
    assert_eq!(points, split_points(&pieces(&files), program, PARTITIONS, within_keys));
    let setup = CollectorSetup {
        partitions: PARTITIONS,
        split_points: Arc::new(points),
        ..CollectorSetup::default()
    };
    let mut collector = Arc::clone(program).collector(&setup);
    for text in texts {
        collector.map_chunk(&Chunk::new("", text.as_bytes()), &mut Unlimited).unwrap();
    }
    let Collected::Pairs(mut pairs) = collector.take().unwrap() else { unreachable!() };
    pairs.sort();
    let mut parts = vec![Vec::new(); PARTITIONS as usize];
    for (partition, part) in (0..).zip(&mut parts) {
        let keys = (0..pairs.partition_len(partition)).map(|index| pairs.get(partition, index).key);
        part.extend(keys.map(<[u8]>::to_vec));
    }
    assert!(parts.concat().is_sorted());
    parts
}

#[track_caller]
fn assert_even(parts: &[Vec<Vec<u8>>]) {
    let sizes: Vec<usize> = parts.iter().map(|part| part.iter().map(Vec::len).sum()).collect();
    let even = sizes.iter().sum::<usize>() / sizes.len();
    assert!(sizes.iter().all(|size| (even / 2..=2 * even).contains(size)), "{sizes:?}");
}

/// Numbers below `bound`, mixed.
fn mixed(count: u64, bound: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % bound)
}

fn lines(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|n| format!("line {n:09}\n")).collect()
}

#[test]
fn input_in_any_order_is_cut_evenly() {
    assert_even(&parts(&sort(), &[lines(mixed(100_000, 1 << 30))]));
    assert_even(&parts(&sort(), &[lines(0..1_000_000)]));
    // Each file begins anew, and there are about as many files as sampled pieces.
    let runs: Vec<_> = (0..300).map(|run| lines((0..5_000).map(|n| n * 300 + run))).collect();
    assert_even(&parts(&sort(), &runs));
}

#[test]
fn a_very_frequent_line_is_spread_over_partitions() {
    let skewed = mixed(200_000, 1 << 30).map(|n| if n % 10 == 0 { n } else { 500 });
    assert_even(&parts(&sort(), &[lines(skewed)]));
}

#[test]
fn combined_pairs_count_once() {
    // Every other line is one of the first ten: they are frequent, but few.
    let uneven = mixed(400_000, 1 << 30).map(|n| if n % 2 == 0 { n % 20 } else { n % 50_000 });
    assert_even(&parts(&count(), &[lines(uneven)]));
}

#[test]
fn long_pairs_count_for_more() {
    let text = (0..2_000)
        .map(|n| format!("{n:05}{}\n", if n < 200 { "x".repeat(2_000) } else { String::new() }))
        .collect();
    assert_even(&parts(&sort(), &[text]));
}

#[test]
fn small_inputs_are_cut_too() {
    let one = parts(&sort(), &["only".to_string()]);
    assert_eq!(one.concat(), [b"only"]);
    assert!(parts(&sort(), &[String::new()]).concat().is_empty());
    assert!(parts(&sort(), &[]).concat().is_empty());
    assert_eq!(parts(&sort(), &[lines(0..8)]).iter().map(Vec::len).collect::<Vec<_>>(), [2; 4]);
}

#[test]
fn unreadable_and_bad_records_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = write(&dir, &["bad\n".to_string(), lines(0..1_000), "b\n".to_string()]);
    files[2].location = format!("{}-is-missing", files[2].location).parse().unwrap();
    let points = split_points(&pieces(&files), &sort(), PARTITIONS, true);
    assert_eq!(points.iter().len(), 3);
    assert!(points.iter().all(|(key, _)| key.starts_with(b"line ")));
}

#[test]
fn a_record_longer_than_its_piece_is_read_to_its_end() {
    let text = (0..100).map(|n| format!("{}{}\n", n % 10, "x".repeat(100_000))).collect();
    assert_even(&parts(&sort(), &[text]));
}
