//! The tests that the MIT distributed-systems course (6.5840) gives its MapReduce lab, on real
//! processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::support::{
    Cluster, ClusterOptions, Dir, Mode, Process, case, count_words, eventually, generated_words,
    read_parts, sorted_lines,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("conformance::1_word_count_with_three_workers", word_count),
        case("conformance::2_index_with_two_workers", index),
        case("conformance::3_maps_run_in_parallel", maps_run_in_parallel),
        case("conformance::4_reduces_run_in_parallel", reduces_run_in_parallel),
        case("conformance::5_each_map_task_runs_once", each_map_task_runs_once),
        case("conformance::6_output_is_final_when_submit_returns", output_is_final),
        case("conformance::7_crashes", crashes),
    ]
}

fn word_count() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 8, 50_000);
    let cluster = Cluster::start(3);
    cluster.submit(arguments("word-count", &dir, &["--split-size", "50KB"])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

fn index() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 8, 50_000);
    let cluster = Cluster::start(2);
    cluster.submit(arguments("inverted-index", &dir, &["--split-size", "50KB"])).expect_code(0);
    let alone = Dir::new();
    let flags = [
        "inverted-index",
        "--output",
        &path(&alone.join("out")),
        "--input",
        &path(&dir.join("in")),
    ];
    Mode::Embedded.run(flags).expect_code(0);
    let lines = sorted_lines(&dir.join("out"));
    let everywhere: Vec<_> = inputs.iter().map(|input| path(input)).collect();
    assert!(lines.contains(&format!("word0\t{}", everywhere.join(","))));
    assert_eq!(lines, sorted_lines(&alone.join("out")));
}

/// Both workers run a map task at the same time: neither may finish before both have begun.
fn maps_run_in_parallel() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("reduce-go"), "").unwrap();
    let cluster = Cluster::start(2);
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB"]));
    eventually("maps on two workers", || processes(&gates, "map-").len() == 2);
    fs::write(gates.join("map-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// The same for reduce tasks.
fn reduces_run_in_parallel() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("map-go"), "").unwrap();
    let cluster = Cluster::start(2);
    let job = cluster.submit_detached(gated(&dir, &["--reducers", "2"]));
    eventually("reduces on two workers", || processes(&gates, "reduce-").len() == 2);
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

fn each_map_task_runs_once() {
    let dir = Dir::new();
    generated_words(&dir, 8, 1_000);
    let runs = dir.join("runs");
    fs::create_dir(&runs).unwrap();
    let cluster = Cluster::start(3);
    let flags = ["--runs", &path(&runs), "--split-size", "1KB", "--json"];
    let summary = cluster.submit(arguments("tally", &dir, &flags)).expect_code(0).last_json();
    assert_eq!(summary["map"]["tasks"], 8);
    assert_eq!(summary["map"]["attempts"], 8);
    assert_eq!(fs::read_dir(&runs).unwrap().count(), 8);
    assert_eq!(sorted_lines(&dir.join("out")), ["files\t8"]);
}

fn output_is_final() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 100_000);
    let cluster = Cluster::start(3);
    cluster.submit(arguments("word-count", &dir, &["--reducers", "10"])).expect_code(0);
    let parts = read_parts(&dir.join("out"));
    assert_eq!(parts.len(), 10);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
    drop(cluster);
    assert_eq!(read_parts(&dir.join("out")), parts);
}

/// Map and reduce calls exit or sleep at random; the workers survive. With `WINDROW_TEST_LONG=1`,
/// the course's times apply (ten seconds of sleep).
fn crashes() {
    let long = std::env::var_os("WINDROW_TEST_LONG").is_some();
    let sleep_ms_max = if long { "10000" } else { "500" };
    let dir = Dir::new();
    generated_words(&dir, 8, 1_000);
    let calm = Dir::new();
    let flags = [
        "crash",
        "--split-size",
        "1KB",
        "--output",
        &path(&calm.join("out")),
        "--input",
        &path(&dir.join("in")),
    ];
    Mode::Embedded.run(flags).expect_code(0);

    let mut cluster =
        Cluster::with_options(3, ClusterOptions { lease: "2s", ..Default::default() });
    let chaos = ["--exits", "200", "--sleeps", "250", "--sleep-ms-max", sleep_ms_max];
    // Many attempts die that run alone.
    let flags = ["--split-size", "1KB", "--reducers", "4", "--max-attempts", "40"];
    let job = cluster.submit_detached(arguments("crash", &dir, &[&chaos[..], &flags[..]].concat()));
    wait_until_succeeded(&cluster, job);
    assert_eq!(sorted_lines(&dir.join("out")), sorted_lines(&calm.join("out")));
    assert!(cluster.workers.iter_mut().all(Process::is_running));
}

/// The job with the input `in` and output `out` of `dir`, and further flags.
pub fn arguments(job: &str, dir: &Dir, flags: &[&str]) -> Vec<String> {
    let mut all = vec![job.to_string()];
    all.extend(flags.iter().map(ToString::to_string));
    all.extend([
        "--output".into(),
        path(&dir.join("out")),
        "--input".into(),
        path(&dir.join("in")),
    ]);
    all
}

/// The gated word count, with its gates in `dir`.
pub fn gated(dir: &Dir, flags: &[&str]) -> Vec<String> {
    let gates = path(&dir.join("gates"));
    arguments("gated-word-count", dir, &[&["--gates", &gates], flags].concat())
}

/// Creates the folder of gates.
pub fn gates(dir: &Dir) -> PathBuf {
    let gates = dir.join("gates");
    fs::create_dir(&gates).unwrap();
    gates
}

/// The processes that have left a file with this prefix.
pub fn processes(gates: &Path, prefix: &str) -> BTreeSet<u32> {
    fs::read_dir(gates)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix(prefix)?.split('-').next()?.parse().ok()
        })
        .collect()
}

/// A coordinator that has just resumed, or has a slow disk, may not know the answer yet.
pub fn wait_until_succeeded(cluster: &Cluster, job: u64) {
    let mut last = serde_json::Value::Null;
    eventually("the job's end", || {
        let status = cluster.command(["status", &job.to_string(), "--json"]).finish();
        if status.code() != Some(0) {
            return false;
        }
        last = status.last_json();
        last["state"] != "running" && last["state"] != "publishing"
    });
    assert_eq!(last["state"], "succeeded", "{last}");
}

pub fn path(path: &Path) -> String {
    path.display().to_string()
}
