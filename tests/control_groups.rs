//! A control group that was delegated to a worker: the processes of a job end together and share
//! its limits, whatever else confines them. A group that was not delegated is left alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::{Signal, kill_process};

use crate::conformance::{arguments, path, wait_until_succeeded};
use crate::isolation::{OWN_USERS, open_to_others, shared_output};
use crate::processes::{deadly, is_alive, mark, only_child, runners};
use crate::support::{
    Cluster, ClusterOptions, ControlGroup, Dir, Output, Process, as_user, below, eventually,
    processes_in, root_case, sorted_lines, wait_for,
};

pub fn tests() -> Vec<Trial> {
    vec![
        root_case("control_groups::processes_of_a_job_end_together", ends_as_one),
        root_case("control_groups::orphans_in_a_container_end", in_a_container),
        root_case("control_groups::processes_left_by_a_killed_worker_end_with_the_next", sweeps),
        root_case("control_groups::a_job_with_its_own_user_has_a_group", of_jobs_user),
        root_case("control_groups::a_job_cannot_leave_its_group", no_way_out),
        root_case("control_groups::unmapped_memory_counts", hidden_memory),
        root_case("control_groups::exceeded_memory_is_named", exceeds_memory),
        root_case("control_groups::the_workers_own_limit_is_named", exceeds_above),
        root_case("control_groups::limits_are_the_kernels", limits),
        root_case("control_groups::a_group_of_the_workers_own_user_is_used", of_own_user),
        root_case("control_groups::a_subgroup_made_by_systemd_is_used", subgroup),
        root_case("control_groups::a_group_that_was_not_delegated_is_left_alone", not_given),
        root_case("control_groups::a_shared_group_is_left_alone", shared),
        root_case("control_groups::a_second_worker_leaves_the_first_alone", second_worker),
    ]
}

/// Switches off all other confinement.
const NOTHING_ELSE: [&str; 2] = ["--no-landlock", "--no-seccomp"];

/// A cluster with one worker in the group.
fn cluster(group: &ControlGroup, flags: &[&str]) -> Cluster {
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.args(flags);
    cluster.workers.push(Process::start(group.around(&worker)));
    cluster.wait_for_workers(1);
    cluster
}

/// Each process is short-lived, in a session of its own, and an orphan. Without Landlock, only the
/// group finds them.
fn ends_as_one() {
    let Some(group) = ControlGroup::delegated() else { return };
    let dir = Dir::new();
    let cluster = cluster(&group, &NOTHING_ELSE);
    assert_eq!(processes_in(&group.path().join("worker")), [cluster.workers[0].id()]);
    let job = cluster.submit_detached(deadly(&dir, "run", &[]));
    let folder = dir.join("marks");
    eventually("runners", || runners(&folder) > 0);
    let child = only_child(&cluster.workers[0]).as_raw_nonzero().get() as u32;
    assert!(processes_in(&group.of_job()).contains(&child));
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("the end of the job's group", || group.below() == ["worker"]);
    // The kernel removes only empty groups, so its processes are gone, too.
    assert_eq!(runners(&folder), 0);
}

/// As process 1, a worker inherits orphans that are not its jobs', and leaves those without a job's
/// environment alone. The group finds the job's.
fn in_a_container() {
    let Some(group) = ControlGroup::delegated() else { return };
    let dir = Dir::new();
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.args(NOTHING_ELSE);
    let first = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    cluster.workers.push(Process::start(below(&first, &group.around(&worker))));
    cluster.wait_for_workers(1);
    let job = cluster.submit_detached(deadly(&dir, "vanish", &[]));
    wait_for("one that vanishes", || mark(&dir.join("marks"), "vanished-"));
    assert_eq!(processes_in(&group.of_job()).len(), 2);
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("the end of the job's group", || group.below() == ["worker"]);
}

/// Finds processes that have left their process group and parents, and have no job's environment.
fn sweeps() {
    let Some(group) = ControlGroup::delegated() else { return };
    let dir = Dir::new();
    let mut cluster = cluster(&group, &NOTHING_ELSE);
    cluster.submit_detached(deadly(&dir, "vanish", &["--max-attempts", "1"]));
    let vanished = wait_for("one that vanishes", || mark(&dir.join("marks"), "vanished-"));
    let (left, child) = (group.of_job(), only_child(&cluster.workers[0]));
    // Stopped first, the worker cannot end the process, nor can the job's process, which dies.
    cluster.workers[0].signal(Signal::STOP);
    kill_process(child, Signal::KILL).unwrap();
    cluster.workers[0].kill();
    eventually("one process that is left", || processes_in(&left).len() == 1);
    assert!(is_alive(&vanished));
    let next = cluster.worker_command(1);
    // A group with limits on its child groups takes no processes itself, only in child groups.
    cluster.workers.push(Process::start(group.around_at("worker", &next)));
    eventually("its end", || !is_alive(&vanished));
    eventually("the group's end", || !left.exists());
    assert_eq!(processes_in(&group.path().join("worker")), [cluster.workers[1].id()]);
}

/// The process enters the group before it becomes the job's user, who may not enter.
fn of_jobs_user() {
    let Some(group) = ControlGroup::delegated() else { return };
    let options = ClusterOptions { secured: true, ..ClusterOptions::default() };
    let mut cluster = Cluster::with_options(0, options);
    open_to_others(cluster.dir().path());
    let mut worker = cluster.worker_command(0);
    worker.args(OWN_USERS);
    cluster.workers.push(Process::start(group.around(&worker)));
    cluster.wait_for_workers(1);
    let dir = Dir::new();
    shared_output(&dir);
    let marks = dir.join("marks");
    let arguments = deadly(&dir, "vanish", &[]);
    fs::set_permissions(&marks, Permissions::from_mode(0o777)).unwrap();
    let job = cluster.submit_detached(arguments);
    let vanished = wait_for("one that vanishes", || mark(&marks, "vanished-"));
    let child = only_child(&cluster.workers[0]).as_raw_nonzero().get() as u32;
    let owner = |process: u32| fs::metadata(format!("/proc/{process}")).unwrap().uid();
    let processes = processes_in(&group.of_job());
    assert!(processes.contains(&child) && processes.contains(&vanished.parse().unwrap()));
    assert!(processes.into_iter().all(|process| owner(process) >= 4_290_000_000));
    fs::write(marks.join("go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("the end of the job's group", || group.below() == ["worker"]);
    assert!(!is_alive(&vanished));
}

/// Through the kernel's file. (tests of seccomp try the system call that starts a process
/// elsewhere.)
fn no_way_out() {
    let Some(group) = ControlGroup::delegated() else { return };
    let cluster = cluster(&group, &["--no-seccomp"]);
    let dir = Dir::new();
    let files = ["cgroup.procs", "worker/cgroup.procs", "worker/cgroup.kill", "cgroup.freeze"];
    let acts = files.map(|file| format!("write {}", path(&group.path().join(file))));
    dir.write("in/acts", acts.each_ref().map(|act| format!("try {act}\n")).concat());
    cluster.submit(arguments("reach", &dir, &[])).expect_code(0);
    let mut expected = acts.map(|act| format!("refused {act}\t1"));
    expected.sort();
    assert_eq!(sorted_lines(&dir.join("out")), expected);
}

fn death(how: &str, flags: &[&str], controller: &str) -> Option<Output> {
    let group = ControlGroup::delegated().filter(|group| group.has(controller))?;
    let dir = Dir::new();
    let cluster = cluster(&group, &[&["--memory", "64MiB"], flags].concat());
    let failed = cluster.submit(deadly(&dir, how, &["--max-attempts", "1"]));
    eventually("the end of the job's group", || group.below() == ["worker"]);
    Some(failed.expect_code(1))
}

fn hidden_memory() {
    let Some(failed) = death("hide", &["--job-memory", "200MiB"], "memory") else { return };
    failed.expect_said("more than 209715200 bytes of memory");
}

fn exceeds_memory() {
    let Some(failed) = death("allocate", &["--job-memory", "200MiB"], "memory") else { return };
    failed.expect_said("more than 209715200 bytes of memory");
}

/// The kernel kills the job's process, for a limit other than its own.
fn exceeds_above() {
    let Some(group) = ControlGroup::delegated().filter(|group| group.has("memory")) else { return };
    fs::write(group.path().join("memory.max"), (256 << 20).to_string()).unwrap();
    // If the group counts swap, swap would be filled first.
    let _ = fs::write(group.path().join("memory.swap.max"), "0");
    let dir = Dir::new();
    let mut cluster = cluster(&group, &[]);
    let failed = cluster.submit(deadly(&dir, "allocate", &["--max-attempts", "1"]));
    failed.expect_code(1).expect_said(
        "the control group of its worker may not use more than 268435456 bytes of memory",
    );
    assert!(cluster.workers[0].is_running());
    eventually("the end of the job's group", || group.below() == ["worker"]);
}

fn limits() {
    let Some(group) = ControlGroup::delegated() else { return };
    if !group.has("memory") || !group.has("pids") || !group.has("cpu") {
        return;
    }
    let dir = Dir::new();
    let flags = ["--job-memory", "200MiB", "--job-processes", "10"];
    let cluster = cluster(&group, &flags);
    let job = cluster.submit_detached(deadly(&dir, "fork", &[]));
    wait_for("a fork", || mark(&dir.join("marks"), "forked-"));
    let of_job = group.of_job();
    let set = ["memory.max", "memory.oom.group", "pids.max", "cpu.weight"]
        .map(|file| fs::read_to_string(of_job.join(file)).unwrap());
    assert_eq!(set.each_ref().map(|text| text.trim()), ["209715200", "1", "4256", "100"]);
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
}

/// A user that is not root.
const ORDINARY: u32 = 42_011;

/// Starts a worker that does not join, and waits for its message about groups.
fn starts(command: Command, says: &str) -> Process {
    let worker = Process::start(command);
    eventually(says, || worker.stderr().contains(says));
    worker
}

/// As on systems whose systemd does not mark the groups that it delegates to users.
fn of_own_user() {
    let Some(group) = ControlGroup::make() else { return };
    let dir = Dir::new();
    chown(dir.path(), Some(ORDINARY), Some(ORDINARY)).unwrap();
    let command = || {
        let mut worker = Cluster::command_of_lone_worker(&dir.join("worker"));
        worker.env("RUST_BACKTRACE", "1");
        group.around(&as_user(ORDINARY, "", &worker))
    };
    drop(starts(command(), "is not delegated to this worker"));
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        chown(group.path().join(file), Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
    let worker = starts(command(), "each process of a job has a control group");
    assert_eq!(processes_in(&group.path().join("worker")), [worker.id()]);
    // Groups inside a user's own group belong to the user's programs, such as a session.
    let inner = group.path().join("session");
    fs::create_dir(&inner).unwrap();
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        chown(inner.join(file), Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
    let other = Cluster::command_of_lone_worker(&dir.join("other"));
    let other = group.around_at("session", &as_user(ORDINARY, "", &other));
    let other = starts(other, "is not delegated to this worker");
    assert_eq!(processes_in(&inner), [other.id()]);
}

/// `DelegateSubgroup=worker`.
fn subgroup() {
    let Some(group) = ControlGroup::delegated() else { return };
    fs::create_dir(group.path().join("worker")).unwrap();
    let dir = Dir::new();
    let mut cluster = Cluster::start(0);
    let worker = group.around_at("worker", &cluster.worker_command(0));
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let job = cluster.submit_detached(deadly(&dir, "fork", &[]));
    wait_for("a fork", || mark(&dir.join("marks"), "forked-"));
    assert_eq!(processes_in(&group.of_job()).len(), 2);
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("the end of the job's group", || group.below() == ["worker"]);
}

/// The group is root's own, but not marked as delegated to the worker.
fn not_given() {
    let Some(group) = ControlGroup::make() else { return };
    let dir = Dir::new();
    let cluster = cluster(&group, &[]);
    let said = cluster.workers[0].stderr();
    assert!(said.contains("Delegate=yes"), "{said}");
    let job = cluster.submit_detached(deadly(&dir, "fork", &[]));
    wait_for("a fork", || mark(&dir.join("marks"), "forked-"));
    assert_eq!(group.below(), [""; 0]);
    assert_eq!(processes_in(group.path()).len(), 3);
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
}

fn shared() {
    let Some(group) = ControlGroup::delegated() else { return };
    let mut other = Command::new("sleep");
    let other = Process::start(group.around(other.arg("1000")));
    eventually("another one in it", || processes_in(group.path()) == [other.id()]);
    let dir = Dir::new();
    let worker = group.around(&Cluster::command_of_lone_worker(&dir.join("worker")));
    let worker = starts(worker, &format!("has other processes in it, {} for one", other.id()));
    assert_eq!(group.below(), [""; 0]);
    assert_eq!(processes_in(group.path()).len(), 2);
    drop(worker);
}

/// Finds the group empty, except for the first worker's child group.
fn second_worker() {
    let Some(group) = ControlGroup::delegated() else { return };
    let dir = Dir::new();
    let cluster = cluster(&group, &[]);
    let job = cluster.submit_detached(deadly(&dir, "fork", &[]));
    let forked = wait_for("a fork", || mark(&dir.join("marks"), "forked-"));
    let before = group.below();
    let second = group.around(&Cluster::command_of_lone_worker(&dir.join("second")));
    if group.has("memory") {
        // A group with limits on its child groups takes no processes.
        Process::start(second).finish().expect_code(1);
    } else {
        let first = cluster.workers[0].id();
        drop(starts(second, &format!("has other processes in it, {first} for one")));
    }
    assert_eq!(group.below(), before);
    assert!(is_alive(&forked));
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("the end of the job's group", || group.below() == ["worker"]);
}
