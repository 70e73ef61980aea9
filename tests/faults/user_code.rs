//! User code panics, hangs and fails: once, which costs a retry, or always, which fails the job
//! with the place.

use std::fs;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::conformance::{arguments, path};
use crate::support::{Cluster, Dir, Output, case, sorted_lines};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::user_code::mapper_fails_once", || once("--in-map")),
        case("faults::user_code::reducer_fails_once", || once("--in-reduce")),
        case("faults::user_code::mapper_always_fails", || always("--in-map")),
        case("faults::user_code::reducer_always_fails", || always("--in-reduce")),
    ]
}

/// Ways to fail, and their messages.
const WAYS: [(&str, &str); 3] = [
    ("error", "trouble was asked for"),
    ("panic", "panic: trouble was asked for"),
    ("hang", "no progress for 1.0 s"),
];

/// A single failure is retried once, and the output shows no trace of it.
fn once(stage: &str) {
    let cluster = Cluster::start(2);
    for (how, _) in WAYS {
        let dir = Dir::new();
        fs::create_dir(dir.join("marks")).unwrap();
        let mark = path(&dir.join("marks/happened"));
        let output =
            trouble(&cluster, &dir, &[stage, how, "--once", &mark, "--task-timeout", "3s"])
                .expect_code(0);
        let status = output.last_json();
        let (troubled, other) = stages(stage, &status);
        assert_eq!(troubled["failed"], 1, "{how}: {status}");
        assert_eq!(troubled["attempts"], tasks(troubled) + 1, "{how}: {status}");
        assert_eq!(other["attempts"], tasks(other), "{how}: {status}");
        assert_eq!(
            sorted_lines(&dir.join("out")),
            ["TROUBLE\t1", "all\t1", "here\t1", "is\t2", "well\t1"]
        );
    }
}

/// A permanent failure fails the job after its attempts, with the place. The workers survive.
fn always(stage: &str) {
    let cluster = Cluster::start(2);
    for (how, message) in WAYS {
        let dir = Dir::new();
        let output =
            trouble(&cluster, &dir, &[stage, how, "--max-attempts", "3", "--task-timeout", "1s"])
                .expect_code(1);
        let status = output.last_json();
        let (troubled, _) = stages(stage, &status);
        assert_eq!(status["state"], "failed", "{how}: {status}");
        // On a busy machine, a healthy task may be as slow as a hanging one.
        assert!(troubled["failed"] == 3 || how == "hang", "{how}: {status}");
        let failure = status["failure"].as_str().unwrap();
        assert!(failure.contains(message), "{failure}");
        assert!(failure.contains("3 attempts"), "{failure}");
        if how != "hang" {
            let input = path(&dir.join("in/b.txt"));
            let place = match stage {
                "--in-map" => format!("{input} at byte 5"),
                _ => "key TROUBLE".to_string(),
            };
            assert!(failure.contains(&place), "{failure}");
        }
        assert!(!dir.join("out").exists(), "left behind: {:?}", dir.tree());
    }
    assert_eq!(cluster.worker_list().len(), 2);
    let dir = Dir::new();
    trouble(&cluster, &dir, &[]).expect_code(0);
}

/// Runs the job over two files; the second line of the second file fails.
fn trouble(cluster: &Cluster, dir: &Dir, flags: &[&str]) -> Output {
    dir.write("in/a.txt", "all is well\n");
    dir.write("in/b.txt", "here\nis TROUBLE\n");
    let common = ["--split-size", "15B", "--reducers", "2", "--json"];
    cluster.submit(arguments("trouble", dir, &[&common, flags].concat()))
}

/// The failing stage, and the other one.
fn stages<'a>(stage: &str, status: &'a Value) -> (&'a Value, &'a Value) {
    match stage {
        "--in-map" => (&status["map"], &status["reduce"]),
        _ => (&status["reduce"], &status["map"]),
    }
}

fn tasks(stage: &Value) -> u64 {
    stage["tasks"].as_u64().unwrap()
}
