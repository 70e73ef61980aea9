//! Outputs with structure: each part has a header and a footer, and its frames are right, whatever
//! the engine has split, spilled or undone.

use std::fs;

use libtest_mimic::Trial;

use crate::conformance::{arguments, path};
use crate::jobs::framed;
use crate::support::{Dir, Mode, Process, both, windrow};

pub fn tests() -> Vec<Trial> {
    [
        both("output_formats::frames_of_reduced_pairs", reduced),
        both("output_formats::frames_of_mapped_pairs", mapped),
        both("output_formats::frames_without_bad_ones", without_bad_ones),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const LINES: usize = 60_000;

/// Writes lines of words with `others` among them. Returns the pairs of all words but the others,
/// in order.
fn write_words(dir: &Dir, others: &[&str]) -> Vec<String> {
    let mut pairs = Vec::new();
    for file in 0..3 {
        let mut text = String::new();
        for n in (file..LINES).step_by(3) {
            let words = [format!("w{}", n % 1_013), format!("x{n}")];
            text.push_str(&format!("{} {}\n", words[0], words[1]));
            pairs.extend(words.map(|word| format!("{word}={}", word.len())));
            if n % 10_000 == 1 {
                others.iter().for_each(|other| text.push_str(&format!("{other}\n")));
            }
        }
        dir.write(format!("in/{file}.txt"), text);
    }
    pairs.sort();
    pairs
}

fn read_names(dir: &Dir) -> Vec<String> {
    let entries = fs::read_dir(dir.join("out")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("part-"));
    names.sort();
    names
}

/// All pairs by part; the parts are numbered from 0.
fn read_parts(dir: &Dir) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (number, name) in (0..).zip(read_names(dir)) {
        assert_eq!(name, format!("part-{number:05}.frames"));
        let text = fs::read_to_string(dir.join("out").join(&name)).unwrap();
        let (named, pairs) = framed::read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(named, number);
        all.push(pairs);
    }
    all
}

fn sorted(parts: Vec<Vec<String>>) -> Vec<String> {
    let mut pairs = parts.concat();
    pairs.sort();
    pairs
}

fn reduced(mode: &Mode) {
    let dir = Dir::new();
    let expected = write_words(&dir, &[]);
    mode.run(arguments("framed", &dir, &["--reducers", "3", "--memory", "8MiB"])).expect_code(0);
    let parts = read_parts(&dir);
    assert_eq!(parts.len(), 3);
    assert_eq!(sorted(parts), expected);
    let out = path(&dir.join("out"));
    Process::start(windrow(["verify", &out])).finish().expect_code(0).expect_said("3 files");
    // Parts whose names are not reused are replaced, too.
    mode.run(arguments("word-count", &dir, &["--reducers", "2", "--overwrite"])).expect_code(0);
    assert_eq!(read_names(&dir), ["part-00000", "part-00001"]);
}

/// Chunks are encoded in parallel; pairs keep their order with any amount of memory.
fn mapped(mode: &Mode) {
    for memory in ["512KiB", "64MiB"] {
        let dir = Dir::new();
        let expected = write_words(&dir, &[]);
        let flags = ["--map-only", "--threads", "4", "--memory", memory, "--split-size", "300KiB"];
        mode.run(arguments("framed", &dir, &flags)).expect_code(0);
        let parts = read_parts(&dir);
        assert!(parts.len() > 2, "{} splits", parts.len());
        let in_order: Vec<_> = parts.concat();
        let lines = (0..3).flat_map(|file| (file..LINES).step_by(3)).map(|n| format!("x{n}="));
        let of_lines = in_order.iter().filter(|pair| pair.starts_with('x'));
        assert!(of_lines.zip(lines).all(|(pair, line)| pair.starts_with(&line)), "out of order");
        assert_eq!(sorted(parts), expected, "{memory}");
    }
}

fn without_bad_ones(mode: &Mode) {
    let dir = Dir::new();
    let expected = write_words(&dir, &["BAD-GROUP", "good BAD-LINE"]);
    let flags = ["--skip-bad-records", "7", "--reducers", "2"];
    let said = "7 bad records";
    mode.run(arguments("framed", &dir, &flags)).expect_code(0).expect_said(said);
    assert_eq!(sorted(read_parts(&dir)), expected);

    let dir = Dir::new();
    let expected = write_words(&dir, &["good BAD-LINE"]);
    let flags = ["--skip-bad-records", "6", "--map-only", "--split-size", "300KiB"];
    mode.run(arguments("framed", &dir, &flags)).expect_code(0).expect_said("6 bad records");
    assert_eq!(sorted(read_parts(&dir)), expected);
}
