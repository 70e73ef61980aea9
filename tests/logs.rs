//! Users can read what their jobs print, during the job and afterwards.

use std::fs;

use libtest_mimic::Trial;

use crate::conformance::wait_until_succeeded;
use crate::processes::{deadly, mark};
use crate::support::{Cluster, Dir, case, eventually};

/// The bytes kept of each process.
const TAIL_BYTES: u64 = 64 << 10;

pub fn tests() -> Vec<Trial> {
    vec![
        case("logs::while_it_runs_and_when_it_is_over", while_it_runs_and_when_it_is_over),
        case("logs::of_a_task", of_a_task),
    ]
}

/// The only log of a job, which appears after a moment.
fn log(cluster: &Cluster, job: u64) -> Option<serde_json::Value> {
    let output = cluster.command(["logs", &job.to_string(), "--json"]).finish().expect_code(0);
    let mut logs = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    logs.next().inspect(|_| assert!(logs.next().is_none()))
}

fn while_it_runs_and_when_it_is_over() {
    let dir = Dir::new();
    let mut cluster = Cluster::start(1);
    let job = cluster.submit_detached(deadly(&dir, "print", &[]));
    eventually("half a gigabyte", || mark(&dir.join("marks"), "printed").is_some());
    let line = (1 << 16) + 1;
    let bytes = (8 << 10) * line;
    eventually("its log", || log(&cluster, job).is_some_and(|log| log["bytes"] == bytes));
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    let expected = format!("{}\n", "x".repeat(TAIL_BYTES as usize - 1));
    eventually("all that is kept of it", || log(&cluster, job).unwrap()["text"] == expected);
    cluster.restart_coordinator();
    eventually("the coordinator", || cluster.command(["jobs"]).finish().code() == Some(0));
    let said = cluster.command(["logs", &job.to_string()]).finish().expect_code(0);
    let left_out = bytes - TAIL_BYTES;
    let before = format!("==> w0, process 1 <==\n[{left_out} bytes are left out]\n");
    assert!(said.stdout == before + &expected, "{} bytes", said.stdout.len());
    let other = cluster.command(["logs", "99"]).finish().expect_code(5);
    other.expect_said("there is no job 99");
}

fn of_a_task() {
    let dir = Dir::new();
    let cluster = Cluster::start(1);
    let flags = deadly(&dir, "print", &["--reducers", "1"]);
    fs::write(dir.join("marks/go"), "").unwrap();
    let job = cluster.submit_detached(flags).to_string();
    wait_until_succeeded(&cluster, job.parse().unwrap());
    let said = |task| cluster.command(["logs", &job, task]).finish().expect_code(0).stdout;
    eventually("its log", || said("reduce-0").contains("xxx"));
    assert_eq!(said("map-0"), said("reduce-0"));
    for task in ["map-1", "reduce-1"] {
        let unknown = cluster.command(["logs", &job, task]).finish().expect_code(5);
        unknown.expect_said(&format!("has no task {task}: its map tasks are map-0, its"));
    }
    cluster.command(["logs", &job, "combine-0"]).finish().expect_code(2).expect_said("map-3");
}
