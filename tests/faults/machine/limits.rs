//! Limits by `ulimit`: open files, sizes of files, threads.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::word_count_is_right;
use crate::conformance::{arguments, gated, gates, path, processes};
use crate::support::{
    Cluster, Dir, Mode, Process, after, as_user, both, case, count_words, eventually, free_port,
    generated_words, root_case, sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        case("faults::machine::small_open_files", small_open_files),
        root_case("faults::machine::no_more_threads", no_more_threads),
        root_case("faults::machine::no_more_threads_in_a_run", no_more_threads_in_a_run),
        root_case(
            "faults::machine::no_more_threads_of_a_coordinator",
            no_more_threads_of_a_coordinator,
        ),
    ];
    tests.extend(both("faults::machine::small_file_size", small_file_size));
    tests
}

/// Shells have a small default.
fn small_open_files() {
    let mut cluster = Cluster::start(0);
    let worker = after("ulimit -Sn 64", &cluster.worker_command(0));
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let limits = fs::read_to_string(format!("/proc/{}/limits", cluster.workers[0].id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let limits: Vec<&str> = files.split_whitespace().skip(3).collect();
    assert_eq!(limits[0], limits[1], "{files}");
    word_count_is_right(&cluster);
}

/// A part larger than the limit of file sizes is an error like any other, not a death.
fn small_file_size(mode: &Mode) {
    let dir = Dir::new();
    generated_words(&dir, 1, 1_000_000);
    match mode {
        Mode::Embedded => {
            let mut run = windrow(["run"]);
            run.args(arguments("grep", &dir, &["word"]));
            let output = Process::start(after("ulimit -f 16", &run)).finish().expect_code(1);
            output.expect_said("ulimit -f");
            assert!(!dir.join("out").exists(), "left behind: {:?}", dir.tree());
        }
        // A coordinator whose journal may not grow waits, as for a full disk, and continues once it
        // may.
        Mode::Cluster(_) => {
            let mut cluster = Cluster::start(1);
            cluster.restart_coordinator_as(|command| after("ulimit -Sf 0", &command));
            eventually("a handler", || cluster.coordinator.catches(Signal::XFSZ));
            let id = cluster.coordinator.id().to_string();
            let allow = Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited"]).status();
            assert!(allow.unwrap().success());
            cluster.wait_for_workers(1);
            word_count_is_right(&cluster);
            assert!(cluster.coordinator.is_running());
        }
    }
}

/// The process table is full for the worker's user: jobs fail there and say why; later jobs run
/// again.
fn no_more_threads() {
    const USER: u32 = 42_102;
    let (dir, home) = (Dir::new(), Dir::new());
    let inputs = generated_words(&dir, 1, 1_000);
    // The job's output is shared with the worker through its group.
    std::os::unix::fs::chown(dir.path(), None, Some(USER)).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o2775)).unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(0o777)).unwrap();
    let mut cluster = Cluster::start(0);
    cluster.restart_coordinator_as(|mut command| {
        command.args(["--allow-user", &USER.to_string()]);
        command
    });
    let folder = path(&home.join("w"));
    let worker =
        windrow(["worker", "--coordinator", &cluster.url, "--dir", &folder, "--threads", "1"]);
    cluster.workers.push(Process::start(as_user(USER, "", &worker)));
    cluster.wait_for_workers(1);
    limit_threads(&cluster.workers[0], USER, 1);
    let failed = cluster.submit(arguments("word-count", &dir, &["--max-attempts", "1"]));
    failed.expect_code(1).expect_said("ulimit -u");
    assert!(cluster.workers[0].is_running());
    limit_threads(&cluster.workers[0], USER, 4_000);
    cluster.submit(arguments("word-count", &dir, &[])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// Limits the threads and processes of an unprivileged user, so that no more can start.
fn limit_threads(of: &Process, user: u32, most: u32) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &of.id().to_string(), &format!("--nproc={most}:")]);
    assert!(as_user(user, "", &prlimit).status().unwrap().success());
}

/// Waits until a process has only the permanent threads of its runtime.
fn wait_until_idle(process: &Process) {
    eventually("an idle runtime", || {
        let threads = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
        let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
        names.filter(|name| name.as_ref().is_ok_and(|name| name.trim() == "windrow-io")).count()
            <= 3
    });
}

fn no_more_threads_in_a_run() {
    const USER: u32 = 42_103;
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    for folder in [dir.path(), &gates] {
        fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = windrow(["run"]);
    command.args(gated(&dir, &["--reducers", "1"]));
    let run = Process::start(as_user(USER, "", &command));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    wait_until_idle(&run);
    limit_threads(&run, USER, 1);
    for gate in ["map-go", "reduce-go"] {
        fs::write(gates.join(gate), "").unwrap();
    }
    run.finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// Without a journal, whose thread would always be busy.
fn no_more_threads_of_a_coordinator() {
    const USER: u32 = 42_104;
    let (dir, home) = (Dir::new(), Dir::new());
    let inputs = generated_words(&dir, 2, 1_000);
    for folder in [&dir, &home] {
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    }
    let listen = format!("127.0.0.1:{}", free_port());
    let mut command = windrow(["coordinator", "--listen", &listen]);
    command.env("TMPDIR", home.path());
    let coordinator = Process::start(as_user(USER, "", &command));
    let url = format!("http://{listen}");
    let mut worker = windrow(["worker", "--coordinator", &url, "--dir", &path(&home.join("w"))]);
    worker.args(["--allow-user", &USER.to_string()]);
    let _worker = Process::start(worker);
    eventually("a worker", || coordinator.stderr().contains("worker joined"));
    wait_until_idle(&coordinator);
    limit_threads(&coordinator, USER, 1);
    let mut submit = windrow(["submit"]);
    submit.args(arguments("word-count", &dir, &[])).args(["--coordinator", &url]);
    submit.args(["--allow-user", &USER.to_string()]);
    Process::start(submit).finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}
