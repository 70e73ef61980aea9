//! Records that user code cannot cope with are left out, up to a budget, and nothing of them is seen but in quarantine.

use std::fs;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::conformance::{arguments, path};
use crate::support::{Dir, Mode, both, sorted_lines};

pub fn tests() -> Vec<Trial> {
    [
        both("bad_records::three_of_a_million", three_of_a_million),
        both("bad_records::one_more_than_allowed", one_more_than_allowed),
        both("bad_records::a_share", a_share),
        both("bad_records::a_group", a_group),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const LINES: usize = 1_000_000;
const BAD: [usize; 3] = [0, 500_000, 999_998];

/// A million lines in two files, three of them bad: two for the mapper, one for the format. Returns where these are.
fn write_lines(dir: &Dir, bad: bool) -> Vec<(String, u64)> {
    let mut places = Vec::new();
    for (name, lines) in [("a.txt", 0..LINES / 2), ("b.txt", LINES / 2..LINES)] {
        let mut text = Vec::new();
        for n in lines {
            if BAD.contains(&n) {
                if bad {
                    places.push((path(&dir.join("in").join(name)), text.len() as u64));
                    let line: &[u8] = if n == 500_000 { b"never \xff\n" } else { b"x TROUBLE\n" };
                    text.extend_from_slice(line);
                }
            } else {
                text.extend_from_slice(format!("w{} x{}\n", n % 1_013, n % 97).as_bytes());
            }
        }
        dir.write(format!("in/{name}"), text);
    }
    places
}

/// File and offset of every record in quarantine, in order.
fn quarantined(dir: &Dir) -> Vec<(String, u64)> {
    let mut places: Vec<_> = quarantine_lines(dir)
        .iter()
        .map(|line| (line["file"].as_str().unwrap().to_string(), line["offset"].as_u64().unwrap()))
        .collect();
    places.sort();
    places
}

fn quarantine_lines(dir: &Dir) -> Vec<Value> {
    let Ok(entries) = fs::read_dir(dir.join("out/_bad-records")) else { return Vec::new() };
    let files = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let lines: Vec<_> =
        files.flat_map(|text| text.lines().map(String::from).collect::<Vec<_>>()).collect();
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn manifest(dir: &Dir) -> Value {
    serde_json::from_slice(&fs::read(dir.join("out/_SUCCESS")).unwrap()).unwrap()
}

fn three_of_a_million(mode: &Mode) {
    let clean = Dir::new();
    write_lines(&clean, false);
    mode.run(arguments("trouble", &clean, &["--in-map", "error"])).expect_code(0);
    let expected = sorted_lines(&clean.join("out"));
    assert!(!clean.join("out/_bad-records").exists());
    for flags in [
        &["--in-map", "panic", "--threads", "4", "--split-size", "300KiB"][..],
        &["--in-map", "error", "--threads", "1"],
        &["--in-map", "error", "--threads", "4", "--memory", "2MiB"],
    ] {
        let dir = Dir::new();
        let places = write_lines(&dir, true);
        let all = [&["--skip-bad-records", "3"], flags].concat();
        let said = format!("3 bad records, see {}/_bad-records", path(&dir.join("out")));
        mode.run(arguments("trouble", &dir, &all)).expect_code(0).expect_said(&said);
        assert_eq!(sorted_lines(&dir.join("out")), expected, "{flags:?}");
        assert_eq!(quarantined(&dir), places, "{flags:?}");
        assert_eq!(manifest(&dir)["skipped_records"], 3);
        let panicked =
            quarantine_lines(&dir).iter().filter(|line| line["source"].is_string()).count();
        assert_eq!(panicked, if flags.contains(&"panic") { 2 } else { 0 });
    }
}

fn one_more_than_allowed(mode: &Mode) {
    let dir = Dir::new();
    write_lines(&dir, true);
    let flags = ["--in-map", "error", "--skip-bad-records", "2", "--split-size", "1MiB"];
    mode.run(arguments("trouble", &dir, &flags))
        .expect_code(1)
        .expect_said("3 records are bad, more than --skip-bad-records 2 allows, such as ");
    assert!(!dir.join("out").exists(), "left behind: {:?}", dir.tree());
    mode.run(arguments("trouble", &dir, &["--in-map", "error", "--max-attempts", "1"]))
        .expect_code(1)
        .expect_said("leave such records out with --skip-bad-records");
}

fn a_share(mode: &Mode) {
    let dir = Dir::new();
    write_lines(&dir, true);
    mode.run(arguments("trouble", &dir, &["--in-map", "error", "--skip-bad-records", "0.0002%"]))
        .expect_code(1)
        .expect_said("3 of 1000000 records are bad, more than --skip-bad-records 0.0002% allows");
    let output = mode.run(arguments(
        "trouble",
        &dir,
        &["--in-map", "error", "--skip-bad-records", "0.0003%", "--json"],
    ));
    assert_eq!(output.expect_code(0).last_json()["skipped_records"], 3);
}

fn a_group(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a.txt", "oats TROUBLE rye\nTROUBLE\n");
    let flags = ["--in-reduce", "panic", "--skip-bad-records", "1", "--reducers", "2"];
    mode.run(arguments("trouble", &dir, &flags)).expect_code(0).expect_said("1 bad record, see ");
    assert_eq!(sorted_lines(&dir.join("out")), ["oats\t1", "rye\t1"]);
    let lines = quarantine_lines(&dir);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["key"], &lines[0]["message"]),
        (&"TROUBLE".into(), &"trouble was asked for".into())
    );
}
