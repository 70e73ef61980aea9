//! Standard files that fail: a log without a reader or on a full disk, a terminal that is gone,
//! closed files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::process::Stdio;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::word_count_is_right;
use crate::conformance::{arguments, gated, gates, processes};
use crate::support::{
    Cluster, Dir, Mode, Process, after, both, case, count_words, eventually, generated_words,
    sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        case("faults::machine::log_reader_gone", log_reader_gone),
        case("faults::machine::log_reader_asleep", log_reader_asleep),
        case("faults::machine::log_disk_full", log_disk_full),
        case("faults::machine::terminal_gone", terminal_gone),
        case("faults::machine::standard_files_closed", standard_files_closed),
    ];
    tests.extend(both("faults::machine::nobody_reads", nobody_reads));
    tests
}

/// The writing end of a pipe without a reader.
fn gone() -> Stdio {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A cluster whose roles both log to `stderr`.
fn cluster_saying_to(mut stderr: impl FnMut() -> Stdio, log: &str) -> Cluster {
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.env("RUST_LOG", log);
    cluster.workers.push(Process::start_saying_to(worker, None, Some(stderr())));
    cluster.restart_coordinator_saying_to(stderr());
    cluster.wait_for_workers(1);
    cluster
}

fn log_reader_gone() {
    let mut cluster = cluster_saying_to(gone, "info");
    word_count_is_right(&cluster);
    assert!(cluster.coordinator.is_running() && cluster.workers[0].is_running());
}

/// As with a hanging log shipper: the pipe soon fills up.
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

/// Neither a job's progress nor its summary can be written.
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
    // SAFETY: both calls get a pointer to a live integer.
    let done = unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) == 0
            && libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number) == 0
    };
    assert!(done, "{}", io::Error::last_os_error());
    let slave = OpenOptions::new().read(true).write(true).open(format!("/dev/pts/{number}"));
    (master, slave.unwrap())
}

/// It disappears while progress bars are drawn.
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

/// The next file opened must not become standard output.
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
