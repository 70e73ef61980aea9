//! A worker is drained, jobs share a cluster: nothing is lost or done twice.

use std::fs;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::conformance::{arguments, gated, gates, path, wait_until_succeeded};
use crate::support::{Cluster, Dir, case, count_words, eventually, generated_words, sorted_lines};

pub fn tests() -> Vec<Trial> {
    vec![
        case("recovery::drained_worker_finishes_first", drained_worker_finishes_first),
        case("recovery::jobs_take_turns", jobs_take_turns),
    ]
}

/// SIGTERM lets a worker finish its attempts, and stay until nobody needs its outputs.
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

/// A second job gets slots while the first has waiting and running tasks.
fn jobs_take_turns() {
    let dir = Dir::new();
    generated_words(&dir, 8, 1_000);
    let gates = gates(&dir);
    let mut cluster = Cluster::start(1);
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
    // The first job has all slots, and ends nothing before its gates are opened.
    cluster.add_worker();
    wait_until_succeeded(&cluster, second);
    let status = cluster.status(first);
    assert_eq!(
        (&status["map"]["done"], &status["state"]),
        (&0.into(), &"running".into()),
        "{status}"
    );
    for gate in ["map-go", "reduce-go"] {
        fs::write(gates.join(gate), "").unwrap();
    }
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
