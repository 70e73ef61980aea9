//! A role, or a process of it, that dies without a word: its leftovers and orphans.

use std::fs;
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use super::{homeless_worker, temporary_folders, word_count_is_right};
use crate::conformance::arguments;
use crate::processes::deadly;
use crate::support::{
    Cluster, ClusterOptions, Dir, Process, after, ancestors, below, case, eventually,
    generated_words, root_case, wait_for,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::machine::panic_ends_the_role", panic_ends_the_role),
        case("faults::machine::folder_of_a_killed_worker", folder_of_a_killed_worker),
        case("faults::machine::ignored_children", ignored_children),
        root_case("faults::machine::process_one", process_one),
    ]
}

/// The journal's thread panics: without it, nothing would ever be decided again.
fn panic_ends_the_role() {
    let dir = Dir::new();
    generated_words(&dir, 1, 1_000);
    let mut cluster = Cluster::with_options(
        1,
        ClusterOptions {
            coordinator_env: &[("WINDROW_FAILPOINT", "panic:journal-before-create:4")],
            ..Default::default()
        },
    );
    let submit = cluster.start_submit(arguments("word-count", &dir, &[]));
    let status = wait_for("the coordinator's end", || cluster.coordinator.status());
    assert_eq!(status.code(), Some(70), "{}", cluster.coordinator.stderr());
    let said = cluster.coordinator.stderr();
    assert!(said.contains("a part of this coordinator has panicked"), "{said}");
    // As a supervisor would.
    cluster.restart_coordinator();
    submit.finish().expect_code(0);
}

fn folder_of_a_killed_worker() {
    let temporary = Dir::new();
    let cluster = Cluster::start(0);
    let start = || Process::start(homeless_worker(&cluster, temporary.path()));
    let mut beside = start();
    cluster.wait_for_workers(1);
    for _ in 0..2 {
        let mut killed = start();
        eventually("a worker", || killed.stderr().contains("joined"));
        killed.kill();
    }
    let last = start();
    eventually("a worker", || last.stderr().contains("joined"));
    // The folders of the two live workers.
    assert_eq!(temporary_folders(temporary.path(), "windrow-worker-").len(), 2);
    assert!(last.stderr().contains("the folder of a killed process"), "{}", last.stderr());
    assert!(beside.is_running());
}

/// Some supervisors ignore SIGCHLD, and what they start inherits that: then the kernel forgets how
/// children ended.
fn ignored_children() {
    let dir = Dir::new();
    let mut cluster = Cluster::start(0);
    let worker = after("trap '' CHLD", &cluster.worker_command(0));
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let failed = cluster.submit(deadly(&dir, "segfault", &["--max-attempts", "1"]));
    failed.expect_code(1).expect_said("SIGSEGV");
}

fn state(process: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn children_of(process: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let all = all.filter_map(|name| name.parse().ok());
    all.filter(|other| ancestors(*other).get(1) == Some(&process)).collect()
}

/// Process 1 of a container: orphans of `docker exec` become its children, and are not killed
/// early.
fn process_one() {
    let mut cluster = Cluster::start(0);
    let above = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let worker = below(&above, &cluster.worker_command(0));
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let outside = cluster.workers[0].id();
    let one = wait_for("process 1", || children_of(outside).first().copied());
    let enter = |script: &str| {
        let id = one.to_string();
        let enter = ["-t", &id, "-p", "-m", "sh", "-c", script];
        assert!(Command::new("nsenter").args(enter).status().unwrap().success());
    };
    (0..3).for_each(|_| enter("(sleep 0.1 &); exit 0"));
    enter("(sleep 1000 &); exit 0");
    word_count_is_right(&cluster);
    eventually("only one that sleeps on", || {
        let states: Vec<_> = children_of(one).into_iter().filter_map(state).collect();
        states == ['S']
    });
    let one = Pid::from_raw(one as i32).unwrap();
    kill_process(one, Signal::TERM).unwrap();
    cluster.workers.remove(0).finish().expect_code(0);
}
