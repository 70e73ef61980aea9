//! Order over all parts, limits of records, and the numbers in a summary.

use libtest_mimic::Trial;

use crate::conformance::{arguments, path};
use crate::support::{Dir, Mode, both, generated_words, read_parts};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("ordered::parts_follow_one_another", parts_follow_one_another);
    tests.extend(both(
        "ordered::a_frequent_line_is_divided_among_parts",
        a_frequent_line_is_divided_among_parts,
    ));
    tests.extend(both("ordered::a_record_that_is_too_long", a_record_that_is_too_long));
    tests.extend(both("ordered::chosen_numbers_are_shown", chosen_numbers_are_shown));
    tests
}

/// The job with the input `in` of `dir` and this output, and further flags.
fn to(dir: &Dir, output: &str, flags: &[&str]) -> Vec<String> {
    let mut all = arguments("sorted-lines", dir, flags);
    let at = all.iter().position(|flag| flag == "--output").unwrap() + 1;
    all[at] = path(&dir.join(output));
    all
}

fn parts_follow_one_another(mode: &Mode) {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 3, 30_000);
    let text: Vec<u8> = inputs.iter().flat_map(|input| std::fs::read(input).unwrap()).collect();
    let mut expected: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    expected.sort();
    for reducers in 1..=5 {
        let output = format!("out-{reducers}");
        let flags = ["--split-size", "20KB", "--reducers", &reducers.to_string()];
        mode.run(to(&dir, &output, &flags)).expect_code(0);
        let parts = read_parts(&dir.join(&output));
        assert_eq!(parts.len(), reducers);
        assert!(parts.values().all(|part| !part.is_empty()), "{reducers} reducers");
        assert!(parts.into_values().collect::<Vec<_>>().concat() == expected.concat());
    }
}

fn a_frequent_line_is_divided_among_parts(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a", "hay\n".repeat(9_000) + &"corn\n".repeat(500) + &"oats\n".repeat(500));
    mode.run(to(&dir, "out", &["--split-size", "10KB", "--reducers", "4"])).expect_code(0);
    let parts: Vec<_> = read_parts(&dir.join("out")).into_values().collect();
    let even = parts.concat().len() / 4;
    assert!(parts.iter().all(|part| (even / 2..2 * even).contains(&part.len())));
    assert!(
        parts.concat().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).is_sorted()
    );
}

fn a_record_that_is_too_long(mode: &Mode) {
    let dir = Dir::new();
    let input = dir.write("in/a", format!("short\n{}\nshort\n", "x".repeat(3 << 20)));
    let flags = ["--max-record-size", "1MiB", "--max-attempts", "1"];
    let output = mode.run(to(&dir, "out", &flags)).expect_code(1);
    output.expect_said(&format!("{} at byte 6", path(&input))).expect_said("--max-record-size");
    mode.run(to(&dir, "out", &["--max-record-size", "4MiB"])).expect_code(0);
}

fn chosen_numbers_are_shown(mode: &Mode) {
    let dir = Dir::new();
    generated_words(&dir, 2, 30_000);
    let sizes = ["--split-size", "10KB", "--reducers", "3", "--fan-in", "2"];
    let flags = [&sizes[..], &["--memory", "64MiB", "--threads", "1"]].concat();
    let text = mode.run(to(&dir, "text", &flags)).expect_code(0).stdout;
    let line = text.lines().find(|line| line.starts_with("  chosen")).unwrap().to_string();
    assert!(line.contains("map tasks of 9.8 KiB, 3 reducers, fan-in 2, "), "{line}");
    assert!(line.contains("64.0 MiB memory"), "{line}");
    let summary = mode.run(to(&dir, "json", &[&flags[..], &["--json"]].concat())).last_json();
    let chosen = &summary["chosen"];
    assert_eq!(chosen["map_tasks"], 6, "{chosen}");
    assert_eq!(chosen["split_bytes"], 10_000);
    assert_eq!(chosen["reducers"], 3);
    assert_eq!(chosen["fan_in"], 2);
    assert_eq!(chosen["memory_bytes"], 64 << 20);
    assert_eq!(chosen["threads"], chosen["workers"]);
    // Without the options, the engine chooses them.
    let chosen = &mode.run(to(&dir, "free", &["--json"])).last_json()["chosen"];
    assert_eq!((&chosen["map_tasks"], &chosen["reducers"]), (&1.into(), &1.into()));
    assert!(chosen["memory_bytes"].as_u64().unwrap() > 64 << 20);
    assert!(chosen["fan_in"].as_u64().unwrap() > 2);
}
