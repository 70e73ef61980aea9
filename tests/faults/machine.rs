//! What a role stands on: its log and terminal, signals, users, and the limits of its machine.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::conformance::{arguments, gated, gates, path, processes, wait_until_succeeded};
use crate::processes::deadly;
use crate::support::{
    Cluster, ClusterOptions, Dir, Mode, Process, after, ancestors, as_user, below, both, case,
    count_words, eventually, generated_words, generic_windrow, root_case, sorted_lines, wait_for,
    windrow,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        case("faults::machine::log_reader_gone", log_reader_gone),
        case("faults::machine::log_reader_asleep", log_reader_asleep),
        case("faults::machine::log_disk_full", log_disk_full),
        case("faults::machine::terminal_gone", terminal_gone),
        case("faults::machine::hang_up_stops_roles", hang_up_stops_roles),
        case("faults::machine::nohup_is_heeded", nohup_is_heeded),
        case("faults::machine::hang_up_leaves_jobs", hang_up_leaves_jobs),
        case("faults::machine::other_signals", other_signals),
        case("faults::machine::panic_ends_the_role", panic_ends_the_role),
        case("faults::machine::folder_of_a_killed_worker", folder_of_a_killed_worker),
        case("faults::machine::ignored_children", ignored_children),
        case("faults::machine::small_open_files", small_open_files),
        case("faults::machine::standard_files_closed", standard_files_closed),
        root_case("faults::machine::killed_for_memory", killed_for_memory),
        root_case("faults::machine::noexec", noexec),
        root_case("faults::machine::process_one", process_one),
        root_case("faults::machine::no_inodes", no_inodes),
        root_case("faults::machine::users_of_their_own", users_of_their_own),
        root_case("faults::machine::no_more_threads", no_more_threads),
        root_case("faults::machine::no_more_threads_in_a_run", no_more_threads_in_a_run),
        root_case(
            "faults::machine::no_more_threads_of_a_coordinator",
            no_more_threads_of_a_coordinator,
        ),
    ];
    tests.extend(both("faults::machine::nobody_reads", nobody_reads));
    tests.extend(both("faults::machine::small_file_size", small_file_size));
    tests
}

/// The writing end of a pipe that nobody reads any more.
fn gone() -> Stdio {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A cluster whose log goes to `stderr`, of both roles.
fn cluster_saying_to(mut stderr: impl FnMut() -> Stdio, log: &str) -> Cluster {
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.env("RUST_LOG", log);
    cluster.workers.push(Process::start_saying_to(worker, None, Some(stderr())));
    cluster.restart_coordinator_saying_to(stderr());
    cluster.wait_for_workers(1);
    cluster
}

fn word_count_is_right(cluster: &Cluster) {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    cluster.submit(arguments("word-count", &dir, &[])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

fn log_reader_gone() {
    let mut cluster = cluster_saying_to(gone, "info");
    word_count_is_right(&cluster);
    assert!(cluster.coordinator.is_running() && cluster.workers[0].is_running());
}

/// As a log shipper that hangs: the pipe is full soon.
fn log_reader_asleep() {
    let mut readers = Vec::new();
    let asleep = || {
        let (reader, writer) = io::pipe().unwrap();
        readers.push(reader);
        writer.into()
    };
    let mut cluster = cluster_saying_to(asleep, "trace");
    word_count_is_right(&cluster);
    cluster.workers[0].signal(Signal::TERM);
    eventually("the worker's end", || !cluster.workers[0].is_running());
}

fn log_disk_full() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap().into();
    let mut cluster = cluster_saying_to(full, "info");
    word_count_is_right(&cluster);
    assert!(cluster.coordinator.is_running() && cluster.workers[0].is_running());
}

/// Neither what a job says of its progress, nor its summary.
fn nobody_reads(mode: &Mode) {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let command = mode.command(arguments("word-count", &dir, &[]));
    let job = Process::start_saying_to(command, Some(gone()), Some(gone()));
    job.finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// Both ends of a new terminal.
#[allow(unsafe_code)]
fn terminal() -> (File, File) {
    use std::os::fd::AsRawFd;

    let master = OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
    let (mut number, unlocked) = (0, 0);
    // SAFETY: both calls take a pointer to an integer, which lives.
    let done = unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) == 0
            && libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number) == 0
    };
    assert!(done, "{}", io::Error::last_os_error());
    let slave = OpenOptions::new().read(true).write(true).open(format!("/dev/pts/{number}"));
    (master, slave.unwrap())
}

/// Its bars are in the midst of being drawn.
fn terminal_gone() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let gates = gates(&dir);
    let mut command = windrow(["run"]);
    command.args(gated(&dir, &[]));
    let (master, slave) = terminal();
    let stdout = slave.try_clone().unwrap();
    let run = Process::start_saying_to(command, Some(stdout.into()), Some(slave.into()));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    drop(master);
    run.signal(Signal::HUP);
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    run.finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// A worker without a folder of its own.
fn homeless_worker(cluster: &Cluster, temporary: &Path) -> Command {
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--threads", "1"]);
    command.env("TMPDIR", temporary);
    command
}

fn temporary_folders(temporary: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    entries.filter(is_one).collect()
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

/// Whoever waits for it is gone; the job is not.
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

/// What tells other programs to look again, or warns of a limit, ends nothing; SIGQUIT ends at once
/// and leaves nothing behind.
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

/// The journal's part: without it, nothing would ever be decided again.
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
    // A supervisor starts it again.
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
    // Of those that live.
    assert_eq!(temporary_folders(temporary.path(), "windrow-worker-").len(), 2);
    assert!(last.stderr().contains("what a killed process has left"), "{}", last.stderr());
    assert!(beside.is_running());
}

/// Some supervisors ignore SIGCHLD, and so does what they start: then the kernel forgets how
/// children have ended.
fn ignored_children() {
    let dir = Dir::new();
    let mut cluster = Cluster::start(0);
    let worker = after("trap '' CHLD", &cluster.worker_command(0));
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let failed = cluster.submit(deadly(&dir, "segfault", &["--max-attempts", "1"]));
    failed.expect_code(1).expect_said("SIGSEGV");
}

/// A shell's usual limit is for programs of another time.
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

/// What is opened next must not be taken for standard output.
fn standard_files_closed() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let mut cluster = Cluster::start(0);
    let worker = after("exec <&- >&- 2>&-", &cluster.worker_command(0));
    cluster.workers.push(Process::start(worker));
    cluster.restart_coordinator_as(|command| after("exec <&- >&- 2>&-", &command));
    cluster.wait_for_workers(1);
    word_count_is_right(&cluster);
    let mut run = windrow(["run"]);
    run.args(arguments("word-count", &dir, &[]));
    Process::start(after("exec <&- >&- 2>&-", &run)).finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// What a part would need more than files of this process may have is an error like any other, not
/// a death.
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
        // A coordinator whose journal may not grow waits, as for a disk that is full, and goes on
        // when it may.
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

/// A control group of this test, of either version; `None` where there is none to be had.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn make(bytes: u64) -> Option<Self> {
        let name = format!("windrow-test-{}", std::process::id());
        let (root, limit) = [("memory", "memory.limit_in_bytes"), (".", "memory.max")]
            .map(|(root, limit)| (Path::new("/sys/fs/cgroup").join(root), limit))
            .into_iter()
            .find(|(root, _)| root.join("cgroup.procs").exists())?;
        let group = Self(root.join(name));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(limit), bytes.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        eventually("an empty group", || fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

fn killed_for_memory() {
    let Some(group) = MemoryGroup::make(64 << 20) else {
        eprintln!("no control group limits memory here");
        return;
    };
    let dir = Dir::new();
    let input = path(&dir.join("in"));
    let generate =
        windrow(["gen", "records", "--bytes", "64MiB", "--files", "1", "--output", &input]);
    Process::start(generate).finish().expect_code(0);
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.args(["--memory", "1GiB"]);
    let join = format!("echo $$ > {}/cgroup.procs", group.0.display());
    cluster.workers.push(Process::start(after(&join, &worker)));
    cluster.wait_for_workers(1);
    let said = cluster.workers[0].stderr();
    assert!(said.contains("the control group of this worker has no more than 64 MiB"), "{said}");
    let flags = ["sort", "--record-bytes", "100", "--key-bytes", "0..10", "--input", &input];
    let output = path(&dir.join("out"));
    let failed = cluster.submit(flags.into_iter().chain(["--output", &output]));
    failed
        .expect_code(1)
        .expect_said(
            "the control group of its worker may not use more than 67108864 bytes of memory",
        )
        .expect_said("or the group more");
    drop(cluster);
}

/// A file system of a kind, mounted with these options.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(dir: &Dir, name: &str, options: &str) -> Self {
        let folder = dir.join(name);
        fs::create_dir_all(&folder).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&folder)
            .status();
        assert!(mount.unwrap().success());
        Self(folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process of the test may still have it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Programs that are sent to the worker cannot be started there; its own can.
fn noexec() {
    let (dir, disk) = (Dir::new(), Dir::new());
    let inputs = generated_words(&dir, 1, 1_000);
    let mounted = Mounted::tmpfs(&disk, "noexec", "noexec,size=400m");
    let mut cluster = Cluster::start(0);
    let folder = path(&mounted.0.join("w"));
    let worker = windrow(["worker", "--coordinator", &cluster.url, "--dir", &folder]);
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let said = cluster.workers[0].stderr();
    assert!(said.contains(&folder) && said.contains("mounted noexec"), "{said}");
    let mut other = generic_windrow(["submit"]);
    other.args(arguments("word-count", &dir, &[])).args(["--coordinator", &cluster.url]);
    let failed = Process::start(other).finish().expect_code(1);
    failed.expect_said("mounted noexec").expect_said(&folder).expect_said("--dir");
    cluster.submit(arguments("word-count", &dir, &[])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
    drop(cluster);
    drop(mounted);
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

/// Of a container: what `docker exec` has left behind comes to it, and is not killed before its
/// time.
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

fn no_inodes() {
    let (dir, disk) = (Dir::new(), Dir::new());
    generated_words(&dir, 1, 1_000);
    let mounted = Mounted::tmpfs(&disk, "small", "size=100m,nr_inodes=5");
    let mut cluster = Cluster::start(0);
    let folder = path(&mounted.0.join("w"));
    let worker = windrow(["worker", "--coordinator", &cluster.url, "--dir", &folder]);
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let failed = cluster.submit(arguments("word-count", &dir, &["--max-attempts", "1"]));
    failed.expect_code(1).expect_said("no inodes").expect_said(&folder);
    // So does an output.
    let output = path(&mounted.0.join("out"));
    let input = path(&dir.join("in"));
    let run = windrow(["run", "word-count", "--input", &input, "--output", &output]);
    Process::start(run).finish().expect_code(1).expect_said("no inodes");
    drop(cluster);
    drop(mounted);
}

const COORDINATOR: u32 = 42_001;
const WORKER: u32 = 42_002;
const BOTH: u32 = 42_003;

/// Coordinator and worker are different users: with a common group and a folder that says so, all
/// is well; without, it is said before anything is computed.
fn users_of_their_own() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let inputs = generated_words(&dir, 1, 1_000);
    for (name, user, group, mode) in [
        ("state", COORDINATOR, COORDINATOR, 0o700),
        ("worker", WORKER, WORKER, 0o700),
        ("open", 0, 0, 0o777),
        ("shared", 0, BOTH, 0o2775),
    ] {
        fs::create_dir(dir.join(name)).unwrap();
        std::os::unix::fs::chown(dir.join(name), Some(user), Some(group)).unwrap();
        fs::set_permissions(dir.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let options = ClusterOptions { state: Some(dir.join("unused")), ..Default::default() };
    let mut cluster = Cluster::with_options(0, options);
    let listen = cluster.url.trim_start_matches("http://").to_string();
    let state = path(&dir.join("state"));
    let users = format!("{COORDINATOR},{WORKER}");
    let mut coordinator = windrow(["coordinator", "--listen", &listen, "--state", &state]);
    coordinator.args(["--allow-user", &users]);
    let groups = BOTH.to_string();
    cluster.coordinator.kill();
    cluster.coordinator = Process::start(as_user(COORDINATOR, &groups, &coordinator));
    let folder = path(&dir.join("worker"));
    let mut worker = windrow(["worker", "--coordinator", &cluster.url, "--dir", &folder]);
    worker.args(["--allow-user", &users]);
    cluster.workers.push(Process::start(as_user(WORKER, &groups, &worker)));
    cluster.share_with(&users);
    cluster.wait_for_workers(1);
    let count = |folder: &str| {
        let (input, output) = (path(&dir.join("in")), path(&dir.join(folder).join("out")));
        cluster.submit(["word-count", "--input", &input, "--output", &output])
    };
    let refused = count("open").expect_code(1);
    refused
        .expect_said(&format!("runs as user {WORKER}"))
        .expect_said(&format!("belongs to user {COORDINATOR}"))
        .expect_said("map task 0 failed")
        .expect_said("docs/security.md");
    assert!(!dir.join("open/out").exists());
    count("shared").expect_code(0);
    assert_eq!(sorted_lines(&dir.join("shared/out")), count_words(&inputs));
}

/// The table of processes is full for the worker's user: jobs fail there and say why; when there is
/// room again, they run.
fn no_more_threads() {
    const USER: u32 = WORKER + 100;
    let (dir, home) = (Dir::new(), Dir::new());
    let inputs = generated_words(&dir, 1, 1_000);
    // So that the job's output is shared with the worker.
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

/// How many threads and processes the user of this one may have, who is not root, before it can
/// start no other.
fn limit_threads(of: &Process, user: u32, most: u32) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &of.id().to_string(), &format!("--nproc={most}:")]);
    assert!(as_user(user, "", &prlimit).status().unwrap().success());
}

/// Waits until a process has only those threads of its runtime that it always has.
fn wait_until_idle(process: &Process) {
    eventually("an idle runtime", || {
        let threads = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
        let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
        names.filter(|name| name.as_ref().is_ok_and(|name| name.trim() == "windrow-io")).count()
            <= 3
    });
}

fn no_more_threads_in_a_run() {
    const USER: u32 = WORKER + 101;
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

/// Without a journal, which would always have something to do.
fn no_more_threads_of_a_coordinator() {
    const USER: u32 = WORKER + 102;
    let (dir, home) = (Dir::new(), Dir::new());
    let inputs = generated_words(&dir, 2, 1_000);
    for folder in [&dir, &home] {
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    }
    let listen = format!("127.0.0.1:{}", crate::support::free_port());
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
