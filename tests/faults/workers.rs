//! Workers are killed, stopped, replaced and slow. Only lost work is redone.

use std::collections::BTreeSet;
use std::fs;

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::json;

use super::gated_job::GatedJob;
use crate::conformance::{arguments, path, wait_until_succeeded};
use crate::support::{Cluster, ClusterOptions, Dir, case, eventually, sorted_lines};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::workers::killed_in_map", killed_in_map),
        case("faults::workers::killed_after_map", killed_after_map),
        case("faults::workers::killed_in_reduce", killed_in_reduce),
        case("faults::workers::stopped_past_its_lease", stopped_past_its_lease),
        case("faults::workers::all_replaced", all_replaced),
        case("faults::workers::killed_one_by_one", killed_one_by_one),
        case("faults::workers::straggler", straggler),
        case("faults::workers::kills_every_process", kills_every_process),
    ]
}

/// Every process dies on one worker, while the other is busy: the job does not fail, and avoids the
/// first worker.
fn kills_every_process() {
    let cluster = Cluster::start(2);
    let dir = Dir::new();
    dir.write("in/a.txt", "a line\n".repeat(40));
    let (bad, go) = (path(&cluster.worker_dir(0)), path(&dir.join("go")));
    let flags = ["--dies-below", &bad, "--waits-for", &go, "--split-size", "35B"];
    let job = cluster.submit_detached(arguments("picky", &dir, &flags));
    let avoided = || cluster.status(job)["avoided_workers"].clone();
    eventually("the job to avoid the worker", || avoided() == json!(["w0"]));
    dir.write("go", "");
    wait_until_succeeded(&cluster, job);
    assert_eq!(sorted_lines(&dir.join("out")), ["a line\t40"]);
    let status = cluster.status(job);
    assert_eq!(status["map"]["tasks"], 8, "{status}");
    assert_eq!(status["avoided_workers"], json!(["w0"]), "{status}");
    assert!(!cluster.member(0)["quarantined"].as_bool().unwrap(), "{:?}", cluster.member(0));
}

/// Four maps run on two workers, and one worker dies: exactly its two maps are redone.
fn killed_in_map() {
    let gated = GatedJob::new(4, 1_000, &[]);
    gated.open("reduce-go");
    let mut cluster = GatedJob::cluster(2);
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    cluster.workers[0].kill();
    gated.open("map-go");
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["lost"], 2, "{status}");
    assert_eq!(status["map"]["attempts"], 6, "{status}");
    assert_eq!(status["map"]["failed"], 0, "{status}");
    assert_eq!(status["reduce"]["attempts"], status["reduce"]["tasks"], "{status}");
}

/// All maps are done and the only reduce runs, when the other worker dies: its maps are redone, and
/// at most the reduce is retried.
fn killed_after_map() {
    let gated = GatedJob::new(4, 1_000, &["--reducers", "1"]);
    let mut cluster = GatedJob::cluster(2);
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    gated.open("map-go");
    eventually("the reduce", || gated.reduce_processes().len() == 1);
    let reducer = gated.reduce_processes().pop_first().unwrap();
    let idle = 1 - cluster.worker_of(reducer).unwrap();
    cluster.workers[idle].kill();
    cluster.wait_for_workers(1);
    gated.open("reduce-go");
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["lost"], 2, "{status}");
    assert_eq!(status["map"]["attempts"], 6, "{status}");
    assert_eq!(status["reduce"]["lost"], 0, "{status}");
    assert!(status["reduce"]["attempts"].as_u64().unwrap() <= 2, "{status}");
}

/// All maps are done, on two workers, when one dies in reduce: only its maps and its reduce are
/// redone.
fn killed_in_reduce() {
    let gated = GatedJob::new(4, 1_000, &["--reducers", "2"]);
    let mut cluster = GatedJob::cluster(2);
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    gated.open("map-go");
    eventually("reduces on both workers", || gated.reduce_processes().len() == 2);
    cluster.workers[0].kill();
    gated.open("reduce-go");
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["lost"], 2, "{status}");
    assert_eq!(status["map"]["attempts"], 6, "{status}");
    // The reduce on the dead worker; the other reduce may be retried, too, if it still had to fetch
    // from it.
    assert_eq!(status["reduce"]["lost"], 1, "{status}");
    let attempts = status["reduce"]["attempts"].as_u64().unwrap();
    assert!((3..=4).contains(&attempts), "{status}");
}

/// A worker that was stopped for longer than its lease returns; its late reports do no harm.
fn stopped_past_its_lease() {
    let gated = GatedJob::new(2, 1_000, &[]);
    gated.open("reduce-go");
    let cluster = GatedJob::cluster_with(2, ClusterOptions { lease: "1s", ..Default::default() });
    let job = gated.submit(&cluster);
    eventually("maps on two workers", || gated.map_processes().len() == 2);
    cluster.workers[0].signal(Signal::STOP);
    cluster.wait_for_workers(1);
    gated.open("map-go");
    let status = gated.finish(&cluster, job);
    cluster.workers[0].signal(Signal::CONT);
    cluster.wait_for_workers(2);
    assert_eq!(status["map"]["lost"], 1, "{status}");
    assert_eq!(status["map"]["attempts"], 3, "{status}");
    gated.check_output();
}

/// No worker is left: the job waits, says so, and continues on new workers.
fn all_replaced() {
    let gated = GatedJob::new(4, 1_000, &[]);
    gated.open("reduce-go");
    let mut cluster = GatedJob::cluster(2);
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    cluster.workers.iter_mut().for_each(|worker| worker.kill());
    cluster.wait_for_workers(0);
    eventually("the job to say that it waits", || cluster.status(job)["waiting"].is_string());
    gated.open("map-go");
    cluster.add_worker();
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["lost"], 4, "{status}");
    assert_eq!(status["map"]["attempts"], 8, "{status}");
}

/// Of eight workers, four are killed, each when it has just completed a map.
fn killed_one_by_one() {
    let gated = GatedJob::new(8, 1_000, &["--reducers", "4"]);
    gated.open("reduce-go");
    let mut cluster = GatedJob::cluster(8);
    let job = gated.submit(&cluster);
    gated.wait_for_maps(8);
    let processes: Vec<_> = gated.map_processes().into_iter().collect();
    assert_eq!(processes.len(), 8);
    for &process in &processes[..4] {
        let victim = cluster.worker_of(process).unwrap();
        gated.open(&format!("map-go-{}", gated.files_in(process)[0]));
        eventually("a map's end", || cluster.member(victim)["done"] != 0);
        cluster.workers[victim].kill();
    }
    cluster.wait_for_workers(4);
    gated.open("map-go");
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["failed"], 0, "{status}");
    // Each had one map, and may have taken more from workers that died before it.
    let lost = status["map"]["lost"].as_u64().unwrap();
    assert!((4..=10).contains(&lost), "{status}");
    assert!(status["map"]["attempts"].as_u64().unwrap() >= 8 + lost, "{status}");
}

/// One of three workers stands still: backup tasks of its maps win, and its own attempts leave
/// nothing, neither while they hang nor later.
fn straggler() {
    let gated = GatedJob::new(6, 1_000, &[]);
    gated.open("reduce-go");
    let mut cluster = GatedJob::cluster(3);
    let job = gated.submit(&cluster);
    gated.wait_for_maps(6);
    let mut processes = gated.map_processes();
    let slow = processes.pop_first().unwrap();
    let straggler = cluster.worker_of(slow).unwrap();
    for process in processes {
        gated.open(&format!("map-go-{process}"));
    }
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["attempts"], 8, "two backups: {status}");
    assert_eq!(status["map"]["failed"], 0, "{status}");
    assert_eq!(status["map"]["lost"], 0, "{status}");
    eventually("an empty worker", || job_folders(&cluster, straggler).is_empty());
    gated.open("map-go");
    cluster.workers[straggler].signal(Signal::TERM);
    eventually("the straggler's end", || !cluster.workers[straggler].is_running());
    assert_eq!(job_folders(&cluster, straggler), BTreeSet::new());
    gated.check_output();
}

/// The job folders in a worker's folder.
fn job_folders(cluster: &Cluster, worker: usize) -> BTreeSet<String> {
    fs::read_dir(cluster.jobs_dir(worker))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("job-"))
        .collect()
}
