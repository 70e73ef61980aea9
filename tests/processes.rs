//! Each job runs in a process of its own: whatever happens there, the worker survives, the error
//! names the cause, and other jobs succeed.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::conformance::{arguments, gated, gates, path, processes, wait_until_succeeded};
use crate::jobs::deadly::{RUNNER, WORD};
use crate::support::{
    Cluster, ClusterOptions, Dir, Output, Process, ancestors, case, count_words, eventually,
    generated_words, sorted_lines, wait_for,
};

pub fn tests() -> Vec<Trial> {
    let deaths = [
        ("abort", &[][..], &["SIGABRT", "the last words"][..]),
        ("segfault", &[], &["SIGSEGV"]),
        ("exit", &[], &["exited with code 0 before its work was done"]),
        ("allocate", &["--job-memory", "200MiB"], &["more than 209715200 bytes of memory"]),
        ("write", &["--job-file-size", "8MiB"], &["SIGXFSZ", "--job-file-size"]),
        ("open", &["--job-open-files", "300"], &["Too many open files"]),
        ("spread", &["--job-memory", "256MiB"], &["more than 268435456 bytes of memory"]),
        ("multiply", &["--job-processes", "30"], &["more than 30 processes", "--job-processes"]),
    ];
    let deaths = deaths.into_iter().map(|(how, flags, said)| {
        case(&format!("processes::death_by_{how}"), move || death_is_named(how, flags, said))
    });
    let others = [
        case("processes::forked_processes_end_with_the_job", forked_processes_end_with_the_job),
        case("processes::escaped_processes_end_with_the_job", escaped_processes_end_with_the_job),
        case(
            "processes::escaped_processes_end_when_the_jobs_process_dies",
            escaped_ones_go_with_a_death,
        ),
        case("processes::short_lived_processes_end_with_the_job", runners_go_with_the_job),
        case(
            "processes::a_process_that_writes_to_a_published_part_does_no_harm",
            a_process_that_writes_to_a_published_part_does_no_harm,
        ),
        case("processes::printed_output_is_bounded", printed_output_is_bounded),
        case("processes::standard_input_is_empty", standard_input_is_empty),
        case("processes::a_hanging_process_is_killed", a_hanging_process_is_killed),
        case("processes::killed_in_map", killed_in_map),
        case("processes::killed_in_reduce_twice", killed_in_reduce_twice),
        case("processes::killed_where_others_fetch", killed_where_others_fetch),
        case("processes::no_process_survives_its_worker", no_process_survives_its_worker),
        case("processes::jobs_can_run_in_the_worker", jobs_can_run_in_the_worker),
    ];
    deaths.chain(others).collect()
}

/// The deadly job over one line of input, with its marks in `dir`.
pub fn deadly(dir: &Dir, how: &str, flags: &[&str]) -> Vec<String> {
    dir.write("in/deadly.txt", format!("all is well\nbut {WORD} it is\n"));
    fs::create_dir_all(dir.join("marks")).unwrap();
    let marks = path(&dir.join("marks"));
    arguments("deadly", dir, &[&["--how", how, "--marks", &marks], flags].concat())
}

/// The running child processes of a process.
fn children(of: &Process) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", of.id())).unwrap();
    let children =
        tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok());
    let children: Vec<String> = children.collect();
    let ids = children.iter().flat_map(|ids| ids.split_whitespace());
    ids.filter_map(|id| Pid::from_raw(id.parse().unwrap())).collect()
}

pub fn only_child(of: &Process) -> Pid {
    wait_for("a process of a job", || match children(of)[..] {
        [child] => Some(child),
        _ => None,
    })
}

pub fn is_alive(id: &str) -> bool {
    // A zombie has no command line.
    fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
}

pub fn mark(marks: &Path, prefix: &str) -> Option<String> {
    let names = fs::read_dir(marks).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| Some(name.to_str()?.strip_prefix(prefix)?.to_string())).next()
}

/// The job fails with a cause that includes all of `said`, while another job on the same worker
/// succeeds.
fn death_is_named(how: &str, worker_flags: &[&str], said: &[&str]) {
    let (dir, other) = (Dir::new(), Dir::new());
    let inputs = generated_words(&other, 2, 1_000);
    let gates = gates(&other);
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.args(["--memory", "64MiB"]).args(worker_flags);
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let beside = cluster.submit_detached(gated(&other, &[]));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    let failed: Output = cluster.submit(deadly(&dir, how, &["--max-attempts", "2"]));
    let failed = failed.expect_code(1);
    said.iter().fold(failed, |failed, text| failed.expect_said(text));
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, beside);
    assert_eq!(cluster.status(beside)["map"]["attempts"], 1);
    assert_eq!(sorted_lines(&other.join("out")), count_words(&inputs));
    assert!(cluster.workers[0].is_running());
    eventually("no process of a job", || children(&cluster.workers[0]).is_empty());
}

fn forked_processes_end_with_the_job() {
    let dir = Dir::new();
    let cluster = Cluster::start(1);
    let job = cluster.submit_detached(deadly(&dir, "fork", &[]));
    let forked = wait_for("a fork", || mark(&dir.join("marks"), "forked-"));
    assert!(is_alive(&forked));
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("the end of what was forked", || !is_alive(&forked));
    eventually("no process of the job", || children(&cluster.workers[0]).is_empty());
}

/// A process that has left its group and lost its parent is found, too.
fn escaped_processes_end_with_the_job() {
    let dir = Dir::new();
    let cluster = Cluster::start(1);
    let job = cluster.submit_detached(deadly(&dir, "escape", &[]));
    let escaped = wait_for("an escape", || mark(&dir.join("marks"), "escaped-"));
    eventually("a parent that cares for it", || {
        ancestors(escaped.parse().unwrap()).contains(&cluster.workers[0].id())
    });
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("the end of what has escaped", || !is_alive(&escaped));
    eventually("no process of the job", || children(&cluster.workers[0]).is_empty());
}

/// The job's process, which would have adopted it, has died: its worker ends it. The next process
/// is not affected.
fn escaped_ones_go_with_a_death() {
    let dir = Dir::new();
    let cluster = Cluster::start(1);
    let job = cluster.submit_detached(deadly(&dir, "escape", &[]));
    let escaped = wait_for("an escape", || mark(&dir.join("marks"), "escaped-"));
    kill_process(only_child(&cluster.workers[0]), Signal::KILL).unwrap();
    eventually("the end of what has escaped", || !is_alive(&escaped));
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    eventually("no process of the job", || children(&cluster.workers[0]).is_empty());
}

/// One process of the job has a part open, and writes to it at publication; another does not exit
/// when asked to.
fn a_process_that_writes_to_a_published_part_does_no_harm() {
    const FILE_BYTES: usize = 1_000;
    let dir = Dir::new();
    let (gates, out) = (gates(&dir), dir.join("out"));
    let cling = format!("cling {}\n", path(&out));
    // Four tasks, as many as the two workers run at once.
    for (name, line) in [("a", &*cling), ("b", "b\n"), ("c", "c\n"), ("d", "d\n")] {
        let filler = "x".repeat(FILE_BYTES - line.len() - 1);
        dir.write(format!("in/{name}.txt"), format!("{line}{filler}\n"));
    }
    let cluster = Cluster::start(2);
    let flags = ["--gates", &path(&gates), "--split-size", &format!("{FILE_BYTES}B")];
    let job = cluster.submit_detached(arguments("clinging", &dir, &flags));
    eventually("a process that holds its part", || mark(&gates, "holds").is_some());
    let clings = wait_for("its process", || mark(&gates, "clings-"));
    eventually("the other tasks", || {
        ["b", "c", "d"].iter().all(|name| mark(&gates, name).is_some())
    });
    fs::write(gates.join(format!("map-go-{clings}")), "").unwrap();
    let number = cluster.worker_of(clings.parse().unwrap()).unwrap();
    eventually("no task in it", || cluster.member(number)["running"] == 0);
    kill_process(Pid::from_raw(clings.parse().unwrap()).unwrap(), Signal::STOP).unwrap();
    fs::write(gates.join("map-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    let part = fs::read_to_string(out.join("part-00000")).unwrap();
    assert!(part.starts_with("cling "), "it was written to after it was published: {part}");
    eventually("no process of the job", || {
        cluster.workers.iter().all(|worker| children(worker).is_empty())
    });
    assert_eq!(fs::read_to_string(out.join("part-00000")).unwrap(), part);
}

/// The processes that run this job's runner.
pub fn runners(folder: &Path) -> usize {
    let is_one = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(RUNNER) && line.contains(&*folder.to_string_lossy())
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.filter(is_one).count()
}

/// Each is short-lived, in a session of its own, and an orphan: none can be caught by its number.
fn runners_go_with_the_job() {
    let dir = Dir::new();
    let cluster = Cluster::start(1);
    let offered = cluster.member(0)["isolation"].as_str().unwrap().to_string();
    if offered != "process" {
        eprintln!("LEFT OUT: this kernel cannot tell what descends from a process");
        return;
    }
    let job = cluster.submit_detached(deadly(&dir, "run", &[]));
    let folder = dir.join("marks");
    eventually("runners", || runners(&folder) > 0);
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    // The chain may be between two processes: it has ended when none is seen for a while.
    let mut unseen = 0;
    eventually("the end of the runners", || {
        unseen = if runners(&folder) == 0 { unseen + 1 } else { 0 };
        unseen == 20
    });
    eventually("no process of the job", || children(&cluster.workers[0]).is_empty());
}

fn printed_output_is_bounded() {
    let dir = Dir::new();
    let cluster = Cluster::start(1);
    let job = cluster.submit_detached(deadly(&dir, "print", &[]));
    eventually("half a gigabyte", || mark(&dir.join("marks"), "printed").is_some());
    let log = cluster.jobs_dir(0).join(format!("job-{job}/printed-1.log"));
    assert_eq!(fs::metadata(log).unwrap().len(), 1 << 20);
    fs::write(dir.join("marks/go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
}

/// The standard input of a worker's process carries orders, so user code gets an empty one.
fn standard_input_is_empty() {
    let dir = Dir::new();
    Cluster::start(1).submit(deadly(&dir, "read", &[])).expect_code(0);
    assert_eq!(mark(&dir.join("marks"), "read-").as_deref(), Some("0"));
}

fn a_hanging_process_is_killed() {
    let dir = Dir::new();
    dir.write("in/b.txt", "here\nis TROUBLE\n");
    let flags = ["--in-map", "hang", "--task-timeout", "1s", "--max-attempts", "2"];
    let cluster = Cluster::start(1);
    let submit = cluster.start_submit(arguments("trouble", &dir, &flags));
    let first = only_child(&cluster.workers[0]);
    eventually("the end of the process that hangs", || {
        !children(&cluster.workers[0]).contains(&first)
    });
    submit.finish().expect_code(1).expect_said("no progress for 1.0 s");
}

/// Both of its maps are redone in another process, and nothing else.
fn killed_in_map() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("reduce-go"), "").unwrap();
    let mut cluster = Cluster::start(2);
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB"]));
    eventually("maps on both workers", || processes(&gates, "map-").len() == 2);
    kill_process(only_child(&cluster.workers[0]), Signal::KILL).unwrap();
    fs::write(gates.join("map-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    assert!(cluster.workers.iter_mut().all(Process::is_running));
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// Outputs in memory are lost with the process, and made again; then they are on disk, and not lost
/// again.
fn killed_in_reduce_twice() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 3, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("map-go"), "").unwrap();
    let cluster = Cluster::start(1);
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB", "--reducers", "1"]));
    for _ in 0..2 {
        eventually("a running reduce", || !processes(&gates, "reduce-").is_empty());
        clear(&gates, "reduce-");
        for child in children(&cluster.workers[0]) {
            kill_process(child, Signal::KILL).unwrap();
        }
        eventually("another reduce", || !processes(&gates, "reduce-").is_empty());
        assert_eq!(cluster.status(job)["map"]["attempts"], 6);
    }
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

fn clear(gates: &Path, prefix: &str) {
    for entry in fs::read_dir(gates).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
            fs::remove_file(path).unwrap();
        }
    }
}

/// The reducers of another worker fetch from a process that is killed and replaced.
fn killed_where_others_fetch() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let gates = gates(&dir);
    let mut cluster = Cluster::with_options(
        2,
        ClusterOptions { own_hosts: rustix::process::geteuid().is_root(), ..Default::default() },
    );
    let job = cluster.submit_detached(gated(&dir, &["--split-size", "1KB", "--reducers", "4"]));
    eventually("maps on both workers", || processes(&gates, "map-").len() == 2);
    fs::write(gates.join("map-go"), "").unwrap();
    eventually("reduces on both workers", || processes(&gates, "reduce-").len() == 2);
    kill_process(only_child(&cluster.workers[0]), Signal::KILL).unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    assert!(cluster.workers.iter_mut().all(Process::is_running));
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

fn no_process_survives_its_worker() {
    let dir = Dir::new();
    let mut cluster = Cluster::start(1);
    cluster.submit_detached(deadly(&dir, "fork", &[]));
    let forked = wait_for("a fork", || mark(&dir.join("marks"), "forked-"));
    let child = only_child(&cluster.workers[0]).to_string();
    assert!(is_alive(&child) && is_alive(&forked));
    cluster.workers[0].kill();
    eventually("no orphans", || !is_alive(&child) && !is_alive(&forked));
}

fn jobs_can_run_in_the_worker() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 1, 1_000);
    let gates = gates(&dir);
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.arg("--in-process");
    cluster.workers.push(Process::start(worker));
    let job = cluster.submit_detached(gated(&dir, &[]));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    assert!(processes(&gates, "map-").contains(&cluster.workers[0].id()));
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}
