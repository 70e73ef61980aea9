//! Signals that stop a role, or that it ignores.

use std::fs;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::{homeless_worker, temporary_folders, word_count_is_right};
use crate::conformance::{gated, gates, processes, wait_until_succeeded};
use crate::support::{
    Cluster, Dir, Process, after, case, count_words, eventually, generated_words, sorted_lines,
    windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::machine::hang_up_stops_roles", hang_up_stops_roles),
        case("faults::machine::nohup_is_heeded", nohup_is_heeded),
        case("faults::machine::hang_up_leaves_jobs", hang_up_leaves_jobs),
        case("faults::machine::other_signals", other_signals),
    ]
}

fn hang_up_stops_roles() {
    let temporary = Dir::new();
    let cluster = Cluster::start(0);
    let worker = Process::start(homeless_worker(&cluster, temporary.path()));
    cluster.wait_for_workers(1);
    worker.signal(Signal::HUP);
    worker.finish().expect_code(0).expect_said("draining");
    assert!(temporary_folders(temporary.path(), "windrow-").is_empty());
    let mut alone = windrow(["coordinator", "--listen", "127.0.0.1:0"]);
    alone.env("TMPDIR", temporary.path());
    let alone = Process::start(alone);
    eventually("a coordinator", || alone.stderr().contains("coordinator ready"));
    assert_eq!(temporary_folders(temporary.path(), "windrow-coordinator-").len(), 1);
    alone.signal(Signal::HUP);
    alone.finish().expect_code(0).expect_said("cancelling all jobs");
    assert!(temporary_folders(temporary.path(), "windrow-").is_empty());
}

fn nohup_is_heeded() {
    let mut cluster = Cluster::start(0);
    let worker = after("trap '' HUP", &cluster.worker_command(0));
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    cluster.workers[0].signal(Signal::HUP);
    word_count_is_right(&cluster);
    assert!(cluster.workers[0].is_running());
}

/// The waiting submitter is gone; its job continues.
fn hang_up_leaves_jobs() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    let cluster = Cluster::start(1);
    let submit = cluster.start_submit(gated(&dir, &[]));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    submit.signal(Signal::HUP);
    submit.finish().expect_code(130).expect_said("goes on");
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, 1);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// Signals for reloading or about limits end nothing; SIGQUIT ends the process at once, without
/// leftovers.
fn other_signals() {
    let temporary = Dir::new();
    let mut cluster = Cluster::start(0);
    let worker = Process::start(homeless_worker(&cluster, temporary.path()));
    cluster.workers.push(worker);
    cluster.wait_for_workers(1);
    for signal in [Signal::USR1, Signal::USR2, Signal::XFSZ] {
        cluster.coordinator.signal(signal);
        cluster.workers[0].signal(signal);
    }
    for process in [&cluster.coordinator, &cluster.workers[0]] {
        eventually("a word on a signal", || process.stderr().contains("SIGUSR2 means nothing"));
    }
    word_count_is_right(&cluster);
    let worker = cluster.workers.remove(0);
    worker.signal(Signal::QUIT);
    worker.finish().expect_code(130);
    assert!(temporary_folders(temporary.path(), "windrow-").is_empty());
}
