//! Bad records are skipped up to a budget, and listed in `_bad-records`; nothing else shows them.

use std::fs;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::conformance::{arguments, path};
use crate::jobs::deadly::WORD;
use crate::support::{Cluster, Dir, Mode, Process, both, case, count_words, sorted_lines};

pub fn tests() -> Vec<Trial> {
    [
        both(
            "bad_records::three_bad_records_of_a_million_are_skipped",
            three_bad_records_of_a_million_are_skipped,
        ),
        both(
            "bad_records::one_record_beyond_the_budget_fails_the_job",
            one_record_beyond_the_budget_fails_the_job,
        ),
        both("bad_records::the_budget_may_be_a_share", the_budget_may_be_a_share),
        both("bad_records::a_bad_group_is_skipped", a_bad_group_is_skipped),
        both(
            "bad_records::a_quoted_line_break_is_one_bad_record",
            a_quoted_line_break_is_one_bad_record,
        ),
        both("bad_records::a_long_record_names_its_flag", a_long_record_names_its_flag),
    ]
    .into_iter()
    .flatten()
    .chain(deadly_ones())
    .collect()
}

/// Only in processes of their own: where a record kills the process, no other is left to report it.
fn deadly_ones() -> Vec<Trial> {
    vec![
        case("bad_records::poison_by_abort_is_skipped", || deadly_records("abort", "SIGABRT")),
        case("bad_records::poison_by_segfault_is_skipped", || {
            deadly_records("segfault", "SIGSEGV");
        }),
        case("bad_records::poison_by_exit_is_skipped", || {
            deadly_records("exit", "exited with code 0");
        }),
        case("bad_records::poison_by_memory_is_skipped", || {
            deadly_records("allocate", "of memory");
        }),
        case("bad_records::poison_groups_are_skipped", poison_groups_are_skipped),
        case(
            "bad_records::too_many_poison_records_fail_the_job",
            too_many_poison_records_fail_the_job,
        ),
        case("bad_records::a_poison_record_is_named", a_poison_record_is_named),
    ]
}

const LINES: usize = 1_000_000;
const BAD: [usize; 3] = [0, 500_000, 999_998];

/// Writes a million lines in two files, three of them bad: two for the mapper, one for the format.
/// Returns the places of the bad ones.
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

/// File and offset of every listed record, in order.
fn listed_places(dir: &Dir) -> Vec<(String, u64)> {
    let mut places: Vec<_> = bad_record_lines(dir)
        .iter()
        .map(|line| (line["file"].as_str().unwrap().to_string(), line["offset"].as_u64().unwrap()))
        .collect();
    places.sort();
    places
}

fn bad_record_lines(dir: &Dir) -> Vec<Value> {
    let Ok(entries) = fs::read_dir(dir.join("out/_bad-records")) else { return Vec::new() };
    let files = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let lines: Vec<_> =
        files.flat_map(|text| text.lines().map(String::from).collect::<Vec<_>>()).collect();
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn manifest(dir: &Dir) -> Value {
    serde_json::from_slice(&fs::read(dir.join("out/_SUCCESS")).unwrap()).unwrap()
}

fn three_bad_records_of_a_million_are_skipped(mode: &Mode) {
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
        assert_eq!(listed_places(&dir), places, "{flags:?}");
        assert_eq!(manifest(&dir)["skipped_records"], 3);
        let panicked =
            bad_record_lines(&dir).iter().filter(|line| line["source"].is_string()).count();
        assert_eq!(panicked, if flags.contains(&"panic") { 2 } else { 0 });
    }
}

fn one_record_beyond_the_budget_fails_the_job(mode: &Mode) {
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

/// It is not read, so it cannot be skipped, and a second attempt would find it, too.
fn a_long_record_names_its_flag(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a", format!("short\n{}\n", "x".repeat(300_000)));
    let flags = ["--max-record-size", "100KB", "--skip-bad-records", "1"];
    let failed = mode.run(arguments("word-count", &dir, &flags)).expect_code(1);
    let said =
        format!("failed after 1 attempt: {} at byte 6: the record is", path(&dir.join("in/a")));
    let said = failed.expect_said(&said).expect_said("such as --max-record-size 1GiB");
    assert!(!said.stdout.contains("--skip-bad-records"), "{said:?}");
    let flags = ["--max-record-size", "1MB"];
    mode.run(arguments("word-count", &dir, &flags)).expect_code(0);
}

fn the_budget_may_be_a_share(mode: &Mode) {
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

fn a_bad_group_is_skipped(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a.txt", "oats TROUBLE rye\nTROUBLE\n");
    let flags = ["--in-reduce", "panic", "--skip-bad-records", "1", "--reducers", "2"];
    mode.run(arguments("trouble", &dir, &flags)).expect_code(0).expect_said("1 bad record, see ");
    assert_eq!(sorted_lines(&dir.join("out")), ["oats\t1", "rye\t1"]);
    let lines = bad_record_lines(&dir);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["key"], &lines[0]["message"]),
        (&"TROUBLE".into(), &"trouble was asked for".into())
    );
}

/// Rows with line breaks inside quotes: each is one bad record, and no part of it is summed,
/// wherever files are split.
fn a_quoted_line_break_is_one_bad_record(mode: &Mode) {
    let (mut text, mut places) = (String::new(), Vec::new());
    let dir = Dir::new();
    let file = path(&dir.join("in/a.csv"));
    let (mut sum, mut rows) = (0, 0);
    for n in 0..60_000 {
        if n % 97 == 5 {
            places.push((file.clone(), text.len() as u64));
            // Two of these lines would be good rows on their own.
            let lines = "hay,1000000\n".repeat(n % 5);
            text += &format!("\"first\nhay,1000000\n{lines}last, \"\"quoted\"\"\",7\n");
        } else {
            let quoted = if n % 3 == 0 { "\"" } else { "" };
            text += &format!("{quoted}hay{quoted},{}\n", n % 10);
            (sum, rows) = (sum + n % 10, rows + 1);
        }
    }
    dir.write("in/a.csv", text);
    for flags in [&["--split-size", "10KB"][..], &["--threads", "3", "--split-size", "100KB"], &[]]
    {
        let mut flags = [flags, &["--skip-bad-records", "2%"]].concat();
        flags.extend(["--by", "1", "--column", "2", "--overwrite"]);
        mode.run(arguments("sum", &dir, &flags)).expect_code(0);
        assert_eq!(sorted_lines(&dir.join("out")), [format!("hay\t{sum}")], "{flags:?}");
        assert_eq!(listed_places(&dir), places, "{flags:?}");
        let records = &manifest(&dir)["job"]["map"]["input_records"];
        assert_eq!(records.as_u64().unwrap() as usize, rows + places.len(), "{flags:?}");
    }
    // Without the flag it is an error with its place.
    let place = format!("a.csv at byte {}", places[0].1);
    mode.run(arguments("sum", &dir, &["--by", "1", "--column", "2", "--overwrite"]))
        .expect_code(1)
        .expect_said(&place)
        .expect_said("a quoted field does not end on its line");
}

/// A cluster whose only worker has little memory.
fn small_cluster() -> Cluster {
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.args(["--memory", "64MiB"]);
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    cluster
}

/// The deadly job over the folder `in`.
fn deadly(dir: &Dir, flags: &[&str]) -> Vec<String> {
    let marks = dir.join("marks");
    fs::create_dir_all(&marks).unwrap();
    arguments("deadly", dir, &[&["--marks", &path(&marks)], flags].concat())
}

/// Writes lines of words, with deadly words in three places. Returns these places.
fn write_deadly_lines(dir: &Dir) -> Vec<(String, u64)> {
    let mut places = Vec::new();
    for (name, deadly) in [("a.txt", &[7, 4_000][..]), ("b.txt", &[1])] {
        let mut text = String::new();
        for n in 0..5_000 {
            if deadly.contains(&n) {
                places.push((path(&dir.join("in").join(name)), text.len() as u64));
                text += &format!("oats {WORD} rye\n");
            }
            text += &format!("w{} x{}\n", n % 1_013, n % 97);
        }
        dir.write(format!("in/{name}"), text);
    }
    places
}

/// Each deadly record kills a process, and is listed with what it did; the others are counted.
fn deadly_records(how: &str, death: &str) {
    let dir = Dir::new();
    let places = write_deadly_lines(&dir);
    let cluster = small_cluster();
    // The first death does not tell the place; a death for lack of memory counts the second time.
    let flags = ["--how", how, "--skip-bad-records", "3", "--max-attempts", "3"];
    cluster.submit(deadly(&dir, &flags)).expect_code(0).expect_said("3 bad records, see ");
    let good = ["a.txt", "b.txt"].map(|name| {
        let text = fs::read_to_string(dir.join("in").join(name)).unwrap();
        let good: Vec<_> = text.lines().filter(|line| !line.contains(WORD)).collect();
        dir.write(format!("good/{name}"), good.join("\n"))
    });
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&good));
    assert_eq!(listed_places(&dir), places);
    assert_eq!(manifest(&dir)["skipped_records"], 3);
    for line in bad_record_lines(&dir) {
        assert_eq!(line["record"], format!("oats {WORD} rye"));
        assert!(line["message"].as_str().unwrap().contains(death), "{line}");
    }
}

fn poison_groups_are_skipped() {
    let dir = Dir::new();
    // Two of the keys differ only after the characters that are shown.
    let long = ["a", "b"].map(|end| format!("{WORD}{}{end}", "x".repeat(200)));
    dir.write("in/a.txt", format!("oats {WORD} rye\n{} {}\n", long[0], long[1]));
    let flags = ["--how", "abort", "--in-reduce", "--skip-bad-records", "3", "--reducers", "2"];
    let cluster = small_cluster();
    cluster.submit(deadly(&dir, &flags)).expect_code(0).expect_said("3 bad records, see ");
    assert_eq!(sorted_lines(&dir.join("out")), ["oats\t1", "rye\t1"]);
    let lines = bad_record_lines(&dir);
    assert_eq!(lines.iter().filter(|line| line["key"] == WORD).count(), 1);
    let expected = "the process that ran user code was killed by SIGABRT; the last that it printed: the last words";
    assert!(lines.iter().all(|line| line["message"] == expected), "{lines:?}");
}

fn too_many_poison_records_fail_the_job() {
    let dir = Dir::new();
    write_deadly_lines(&dir);
    let cluster = small_cluster();
    let flags = ["--how", "segfault", "--skip-bad-records", "2"];
    cluster
        .submit(deadly(&dir, &flags))
        .expect_code(1)
        .expect_said("3 records are bad, more than --skip-bad-records 2 allows, such as ")
        .expect_said("was killed by SIGSEGV (");
    assert!(!dir.join("out").exists(), "left behind: {:?}", dir.tree());
    assert!(cluster.worker_list().len() == 1);
}

/// Also without a budget for bad records.
fn a_poison_record_is_named() {
    let dir = Dir::new();
    dir.write("in/a.txt", format!("all is well\nbut {WORD} it is\n"));
    let at = format!("was killed by SIGABRT ({} at byte 12)", path(&dir.join("in/a.txt")));
    let cluster = small_cluster();
    cluster
        .submit(deadly(&dir, &["--how", "abort", "--max-attempts", "2"]))
        .expect_code(1)
        .expect_said(&at)
        .expect_said("leave such records out with --skip-bad-records");
    let flags = ["--how", "abort", "--in-reduce", "--max-attempts", "2"];
    let said = format!("was killed by SIGABRT (key {WORD})");
    cluster.submit(deadly(&dir, &flags)).expect_code(1).expect_said(&said);
}
