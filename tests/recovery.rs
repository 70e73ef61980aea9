//! Workers are killed with SIGKILL; the output stays the same, and only the lost work is redone.

use std::fs;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::conformance::{arguments, gated, gates, path, processes, wait_until_succeeded};
use crate::support::{
    Cluster, ClusterOptions, Dir, case, count_words, eventually, generated_words, sorted_lines,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("recovery::worker_killed_in_map", worker_killed_in_map),
        case("recovery::worker_killed_in_reduce", worker_killed_in_reduce),
        case("recovery::worker_stopped_past_its_lease", worker_stopped_past_its_lease),
        case("recovery::all_workers_replaced", all_workers_replaced),
        case("recovery::drained_worker_finishes_first", drained_worker_finishes_first),
        case("recovery::jobs_take_turns", jobs_take_turns),
        case("recovery::coordinator_restarted_in_map", || coordinator_restarted("map")),
        case("recovery::coordinator_restarted_in_reduce", || coordinator_restarted("reduce")),
    ]
}

/// Four maps run on two workers; one worker dies: exactly its two maps are redone.
fn worker_killed_in_map() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("reduce-go"), "").unwrap();
    let mut cluster = Cluster::start(2);
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB"]));
    eventually("four running maps", || marks(&gates, "map-") == 4);
    cluster.workers[0].kill();
    fs::write(gates.join("map-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    let status = cluster.status(job);
    assert_eq!(status["map"]["lost"], 2, "{status}");
    assert_eq!(status["map"]["attempts"], 6, "{status}");
    assert_eq!(status["map"]["failed"], 0, "{status}");
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// The coordinator dies and comes back: workers and the waiting submitter return to it, and nothing is done twice.
fn coordinator_restarted(stage: &str) {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let gates = gates(&dir);
    let mut cluster = Cluster::start(2);
    let flags = ["--split-size", "1KB", "--reducers", "2"];
    let submit = cluster.start_submit(gated(&dir, &flags));
    eventually("four running maps", || marks(&gates, "map-") == 4);
    if stage == "reduce" {
        fs::write(gates.join("map-go"), "").unwrap();
        eventually("two running reduces", || marks(&gates, "reduce-") == 2);
    }
    cluster.restart_coordinator();
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    submit.finish().expect_code(0).expect_said("lost the coordinator").expect_said("is back");
    let status = cluster.status(1);
    assert_eq!(status["map"]["attempts"], 4, "{status}");
    assert_eq!(status["reduce"]["attempts"], 2, "{status}");
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// All maps are done, spread over two workers, when one dies in reduce: its maps and its reduces are redone, and
/// nothing else.
fn worker_killed_in_reduce() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let gates = gates(&dir);
    let mut cluster = Cluster::start(2);
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB", "--reducers", "2"]));
    eventually("four running maps", || marks(&gates, "map-") == 4);
    fs::write(gates.join("map-go"), "").unwrap();
    eventually("reduces on both workers", || processes(&gates, "reduce-").len() == 2);
    cluster.workers[0].kill();
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    let status = cluster.status(job);
    assert_eq!(status["map"]["lost"], 2, "{status}");
    assert_eq!(status["map"]["attempts"], 6, "{status}");
    // The reduce that ran on the victim; the other may also be tried again, if it still had to fetch from it.
    assert_eq!(status["reduce"]["failed"], 0, "{status}");
    let attempts = status["reduce"]["attempts"].as_u64().unwrap();
    assert!((3..=4).contains(&attempts), "{status}");
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// A worker that was stopped for longer than its lease comes back; what it then says does no harm.
fn worker_stopped_past_its_lease() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("reduce-go"), "").unwrap();
    let cluster = Cluster::with_options(2, ClusterOptions { lease: "1s", ..Default::default() });
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB"]));
    eventually("maps on two workers", || processes(&gates, "map-").len() == 2);
    cluster.workers[0].signal(Signal::STOP);
    cluster.wait_for_workers(1);
    fs::write(gates.join("map-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    cluster.workers[0].signal(Signal::CONT);
    cluster.wait_for_workers(2);
    let status = cluster.status(job);
    assert_eq!(status["map"]["lost"], 1, "{status}");
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

fn all_workers_replaced() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("reduce-go"), "").unwrap();
    let mut cluster = Cluster::start(2);
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB"]));
    eventually("four running maps", || marks(&gates, "map-") == 4);
    cluster.workers.iter_mut().for_each(|worker| worker.kill());
    cluster.wait_for_workers(0);
    eventually("the job to say that it waits", || cluster.status(job)["waiting"].is_string());
    fs::write(gates.join("map-go"), "").unwrap();
    cluster.add_worker();
    wait_until_succeeded(&cluster, job);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// SIGTERM lets a worker finish what it runs, and stay until nobody needs what it holds.
fn drained_worker_finishes_first() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("reduce-go"), "").unwrap();
    let mut cluster = Cluster::start(2);
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB"]));
    eventually("four running maps", || marks(&gates, "map-") == 4);
    cluster.workers[0].signal(Signal::TERM);
    eventually("a draining worker", || {
        cluster.worker_list().iter().any(|worker| worker["draining"] == true)
    });
    fs::write(gates.join("map-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("the drained worker's end", || !cluster.workers[0].is_running());
    let status = cluster.status(job);
    assert_eq!(status["map"]["lost"], 0, "{status}");
    assert_eq!(status["map"]["attempts"], 4, "{status}");
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// A second job gets its turn while the first one still has tasks waiting.
fn jobs_take_turns() {
    let dir = Dir::new();
    generated_words(&dir, 8, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("reduce-go"), "").unwrap();
    let cluster = Cluster::start(1);
    let first = cluster.submit_detached(gated(&dir, &["--split-size", "1KB"]));
    eventually("two running maps", || marks(&gates, "map-") == 2);
    let other = Dir::new();
    let flags = [
        "word-count",
        "--output",
        &path(&other.join("out")),
        "--input",
        &path(&dir.join("in/00.txt")),
    ];
    let second = cluster.submit_detached(flags);
    fs::write(gates.join("map-go"), "").unwrap();
    wait_until_succeeded(&cluster, second);
    wait_until_succeeded(&cluster, first);
    assert_eq!(sorted_lines(&other.join("out")), count_words(&[dir.join("in/00.txt")]));
    let again = cluster.submit(arguments("word-count", &dir, &[]));
    again.expect_code(1).expect_said("not empty");
}

fn marks(gates: &std::path::Path, prefix: &str) -> usize {
    let names = fs::read_dir(gates).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with(prefix) && !name.ends_with("-go")
        })
        .count()
}
