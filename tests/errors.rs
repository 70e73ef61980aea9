//! Every error is clear, names the place, loses nothing and leaves nothing half-written.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Trial;

use crate::conformance::path;
use crate::support::{
    Cluster, Dir, Mode, Process, SmallDisk, both, case, free_port, root_case, sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    [
        both("errors::no_input_matches", no_input_matches),
        both("errors::unreadable_file", unreadable_file),
        both("errors::output_exists", output_exists),
        both("errors::output_not_writable", output_not_writable),
        both("errors::invalid_utf8", invalid_utf8),
        both("errors::mapper_error", mapper_error),
        both("errors::mapper_panic", mapper_panic),
        both("errors::reducer_error", reducer_error),
        both("errors::reducer_panic", reducer_panic),
        both("errors::hanging_task", hanging_task),
        both("errors::input_shrinks", |mode| input_changes(mode, "")),
        both("errors::input_changes", |mode| {
            input_changes(mode, "other words, of another number of bytes\n");
        }),
        vec![root_case("errors::disk_full_embedded", disk_full_embedded)],
        vec![
            case("errors::worker_survives_a_panic", worker_survives_a_panic),
            case("errors::unknown_job", unknown_job),
            case("errors::bad_regex", bad_regex),
            case("errors::coordinator_not_reachable", coordinator_not_reachable),
            case("errors::another_service", another_service),
            case("errors::worker_keeps_trying", worker_keeps_trying),
            case("errors::coordinator_gone", coordinator_gone),
            case("errors::no_workers", no_workers),
            case("errors::two_workers_with_one_directory", two_workers_with_one_directory),
            case("errors::two_coordinators_with_one_state", two_coordinators_with_one_state),
            case("errors::open_address_without_insecure", open_address_without_insecure),
            case("errors::address_that_says_nothing", address_that_says_nothing),
        ],
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Word count of `dir`'s folder `in` to its folder `out`.
fn word_count(dir: &Dir) -> Vec<String> {
    crate::conformance::arguments("word-count", dir, &[])
}

fn trouble(dir: &Dir, flags: &[&str]) -> Vec<String> {
    dir.write("in/a.txt", "all is well\n");
    dir.write("in/b.txt", "here\nis TROUBLE\n");
    crate::conformance::arguments("trouble", dir, flags)
}

#[track_caller]
fn assert_nothing_written(dir: &Dir) {
    assert!(!dir.join("out").exists(), "left behind: {:?}", dir.tree());
}

fn no_input_matches(mode: &Mode) {
    let dir = Dir::new();
    let pattern = path(&dir.join("in/*.txt"));
    let flags = ["word-count", "--output", &path(&dir.join("out")), "--input", &pattern];
    mode.run(flags).expect_code(1).expect_said(&format!("no input matches '{pattern}'"));
    assert_nothing_written(&dir);
}

fn unreadable_file(mode: &Mode) {
    if rustix::process::geteuid().is_root() {
        return unreadable_to_root(mode);
    }
    let dir = Dir::new();
    let secret = dir.write("in/secret.txt", "x");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    mode.run(word_count(&dir))
        .expect_code(1)
        .expect_said(&path(&secret))
        .expect_said("ermission denied");
    assert_nothing_written(&dir);
}

/// Permissions do not stop root; a dangling link does.
fn unreadable_to_root(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a.txt", "x");
    let link = dir.join("in/lost.txt");
    std::os::unix::fs::symlink(dir.join("nowhere"), &link).unwrap();
    mode.run(word_count(&dir)).expect_code(1).expect_said(&path(&link));
    assert_nothing_written(&dir);
}

fn output_exists(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a.txt", "x");
    let kept = dir.write("out/keep.txt", "precious");
    mode.run(word_count(&dir))
        .expect_code(1)
        .expect_said("not empty")
        .expect_said(&path(&dir.join("out")));
    assert_eq!(fs::read_to_string(kept).unwrap(), "precious");
    assert_eq!(fs::read_dir(dir.join("out")).unwrap().count(), 1);
}

fn output_not_writable(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a.txt", "x");
    // A file in place of the folder stops root, too.
    let file = dir.write("file", "x");
    let flags =
        ["word-count", "--output", &path(&file.join("out")), "--input", &path(&dir.join("in"))];
    mode.run(flags).expect_code(1).expect_said(&path(&file.join("out")));
    assert_eq!(fs::read_to_string(file).unwrap(), "x");
}

fn invalid_utf8(mode: &Mode) {
    let dir = Dir::new();
    let file = dir.write("in/a.txt", b"good\nbad \xff here\n");
    mode.run(word_count(&dir))
        .expect_code(1)
        .expect_said(&format!("{} at byte 9", path(&file)))
        .expect_said("UTF-8")
        .expect_said("--lossy");
    assert_nothing_written(&dir);
    let mut lossy = word_count(&dir);
    lossy.push("--lossy".into());
    mode.run(lossy).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["bad\t1", "good\t1", "here\t1", "\u{fffd}\t1"]);
}

fn mapper_error(mode: &Mode) {
    let dir = Dir::new();
    mode.run(trouble(&dir, &["--in-map", "error", "--max-attempts", "2"]))
        .expect_code(1)
        .expect_said("trouble was asked for")
        .expect_said(&format!("{} at byte 5", path(&dir.join("in/b.txt"))))
        .expect_said("2 attempts");
    assert_nothing_written(&dir);
}

fn mapper_panic(mode: &Mode) {
    let dir = Dir::new();
    mode.run(trouble(&dir, &["--in-map", "panic", "--max-attempts", "2"]))
        .expect_code(1)
        .expect_said("trouble was asked for")
        .expect_said(&format!("{} at byte 5", path(&dir.join("in/b.txt"))))
        .expect_said("tests/jobs/trouble.rs:");
    assert_nothing_written(&dir);
}

fn reducer_error(mode: &Mode) {
    let dir = Dir::new();
    mode.run(trouble(&dir, &["--in-reduce", "error", "--max-attempts", "2"]))
        .expect_code(1)
        .expect_said("trouble was asked for")
        .expect_said("key TROUBLE");
    assert_nothing_written(&dir);
}

fn reducer_panic(mode: &Mode) {
    let dir = Dir::new();
    mode.run(trouble(&dir, &["--in-reduce", "panic", "--max-attempts", "2"]))
        .expect_code(1)
        .expect_said("key TROUBLE")
        .expect_said("tests/jobs/trouble.rs:");
    assert_nothing_written(&dir);
}

fn hanging_task(mode: &Mode) {
    let dir = Dir::new();
    mode.run(trouble(
        &dir,
        &["--in-map", "hang", "--max-attempts", "2", "--task-timeout", "300ms"],
    ))
    .expect_code(1)
    .expect_said("no progress for 0.3 s")
    .expect_said("--task-timeout");
    assert_nothing_written(&dir);
}

/// The input is rewritten while its first record is mapped.
fn input_changes(mode: &Mode, text: &str) {
    let dir = Dir::new();
    let inputs = crate::support::generated_words(&dir, 1, 100_000);
    let gates = crate::conformance::gates(&dir);
    fs::write(gates.join("reduce-go"), "").unwrap();
    let job = mode.start(crate::conformance::gated(&dir, &[]));
    crate::support::eventually("a running map", || {
        !crate::conformance::processes(&gates, "map-").is_empty()
    });
    fs::write(&inputs[0], text).unwrap();
    fs::write(gates.join("map-go"), "").unwrap();
    job.finish()
        .expect_code(1)
        .expect_said(&path(&inputs[0]))
        .expect_said("changed while the job ran");
    assert_nothing_written(&dir);
}

/// The output does not fit on the disk.
fn disk_full_embedded() {
    let dir = Dir::new();
    crate::support::generated_words(&dir, 1, 1_000_000);
    let small = SmallDisk::mount(&dir, "small");
    let flags = [
        "grep",
        "word",
        "--output",
        &path(&small.path().join("out")),
        "--input",
        &path(&dir.join("in")),
    ];
    Mode::Embedded
        .run(flags)
        .expect_code(1)
        .expect_said("No space left on device")
        .expect_said("free some space");
    assert!(!small.path().join("out").exists(), "left behind: {:?}", dir.tree());
}

/// The process that ran failing, panicking and hanging tasks runs the next job.
fn worker_survives_a_panic() {
    let cluster = Cluster::start(1);
    let dir = Dir::new();
    cluster.submit(trouble(&dir, &["--in-map", "panic"])).expect_code(1);
    let long = cluster.submit(trouble(&dir, &["--in-map", "long-error"])).expect_code(1);
    long.expect_said("(6000000 bytes)").expect_said("4 attempts");
    let hang = ["--in-map", "hang", "--max-attempts", "2", "--task-timeout", "300ms"];
    cluster.submit(trouble(&dir, &hang)).expect_code(1);
    cluster.submit(trouble(&dir, &[])).expect_code(0);
    assert_eq!(
        sorted_lines(&dir.join("out")),
        ["TROUBLE\t1", "all\t1", "here\t1", "is\t2", "well\t1"]
    );
    assert_eq!(cluster.worker_list().len(), 1);
}

fn unknown_job() {
    let output =
        Process::start(windrow(["run", "word-cuont", "--input", "x", "--output", "y"])).finish();
    output.expect_code(2).expect_said("word-cuont").expect_said("'word-count'");
}

fn bad_regex() {
    let dir = Dir::new();
    dir.write("in/a.txt", "x");
    let flags = [
        "run",
        "grep",
        "a(b",
        "--output",
        &path(&dir.join("out")),
        "--input",
        &path(&dir.join("in")),
    ];
    Process::start(windrow(flags))
        .finish()
        .expect_code(2)
        .expect_said("a(b")
        .expect_said("unclosed group");
    assert_nothing_written(&dir);
}

fn coordinator_not_reachable() {
    // A port that was free a moment ago, and is given to nobody else.
    let url = format!("http://127.0.0.1:{}", free_port());
    for command in [&["jobs"][..], &["status", "1"], &["workers"]] {
        let mut process = windrow(command);
        process.args(["--coordinator", &url]);
        Process::start(process)
            .finish()
            .expect_code(6)
            .expect_said("no windrow coordinator answers at")
            .expect_said(&url);
    }
    let dir = Dir::new();
    dir.write("in/a.txt", "x");
    let mut submit = windrow(["submit"]);
    submit.args(word_count(&dir)).args(["--coordinator", &url]);
    Process::start(submit)
        .finish()
        .expect_code(6)
        .expect_said("trying again")
        .expect_said("no windrow coordinator answers at");
}

/// At a wrong port, whatever answers or stays silent, the error names the address, and comes soon.
fn another_service() {
    let http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (greeting, why) in [
        (&http[..], "another service"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "another service"),
        (b"220 mail.example ESMTP\r\n", "another service"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "a secured cluster: then say https://"),
        (b"", "nothing was heard from there"),
    ] {
        let url = service(greeting);
        let jobs = windrow(["jobs", "--coordinator", &url]);
        let said = Process::start(jobs).finish().expect_code(6);
        said.expect_said(&format!("no windrow coordinator answers at {url}")).expect_said(why);
        let mut worker = windrow(["worker", "--coordinator", &url, "--dir"]);
        let dir = Dir::new();
        worker.arg(dir.join("w"));
        let worker = Process::start(worker);
        crate::support::eventually("a message", || worker.stderr().contains(&url));
    }
}

/// A server that sends a greeting, and reads whatever it is sent.
fn service(greeting: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                // The client may have closed the connection.
                let _ = stream
                    .write_all(greeting)
                    .and_then(|()| io::copy(&mut stream, &mut io::sink()));
            });
        }
    });
    url
}

fn worker_keeps_trying() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let dir = Dir::new();
    let mut worker = windrow(["worker", "--coordinator", &url, "--dir"]);
    worker.arg(dir.join("w"));
    let mut worker = Process::start(worker);
    crate::support::eventually("a message", || worker.stderr().contains("cannot reach"));
    let listen = format!("127.0.0.1:{port}");
    let _coordinator = Process::start(windrow(["coordinator", "--listen", &listen]));
    crate::support::eventually("the worker to join", || {
        let workers =
            Process::start(windrow(["workers", "--json", "--coordinator", &url])).finish();
        workers.stdout.lines().count() == 1
    });
    assert!(worker.is_running());
}

fn coordinator_gone() {
    let dir = Dir::new();
    crate::support::generated_words(&dir, 1, 1_000);
    let gates = crate::conformance::gates(&dir);
    let mut cluster = Cluster::start(1);
    let flags = ["--coordinator-wait", "2s"];
    let submit = cluster.start_submit(crate::conformance::gated(&dir, &flags));
    crate::support::eventually("a running map", || {
        !crate::conformance::processes(&gates, "map-").is_empty()
    });
    cluster.coordinator.kill();
    submit
        .finish()
        .expect_said("lost the coordinator; trying again")
        .expect_code(6)
        .expect_said("no windrow coordinator answers at")
        .expect_said("may still be running");
    assert!(cluster.workers[0].is_running());
}

fn no_workers() {
    let cluster = Cluster::start(0);
    let dir = Dir::new();
    dir.write("in/a.txt", "x");
    let mut flags = word_count(&dir);
    flags.extend(["--worker-wait", "300ms"].map(String::from));
    cluster.submit(flags).expect_code(1).expect_said("no worker").expect_said("--worker-wait");
    assert_nothing_written(&dir);
}

fn two_workers_with_one_directory() {
    let cluster = Cluster::start(1);
    let second = Process::start(cluster.worker_command(0));
    second.finish().expect_code(1).expect_said("worker-0").expect_said("another worker");
    assert_eq!(cluster.worker_list().len(), 1);
}

fn two_coordinators_with_one_state() {
    let dir = Dir::new();
    let start = || {
        let mut command = windrow(["coordinator", "--listen", "127.0.0.1:0", "--state"]);
        command.arg(dir.join("state"));
        Process::start(command)
    };
    let _first = start();
    crate::support::eventually("an address", || dir.join("state/address").exists());
    start()
        .finish()
        .expect_code(1)
        .expect_said("another coordinator")
        .expect_said(&path(&dir.join("state")));
}

/// The `windrow` binary is another build than this test binary.
fn open_address_without_insecure() {
    let output = Process::start(windrow(["coordinator", "--listen", "0.0.0.0:0"])).finish();
    output.expect_code(2).expect_said("--insecure");
}

/// A server that listens on all addresses must advertise one that others can reach.
fn address_that_says_nothing() {
    let cluster = Cluster::start(0);
    let worker = |flags: &[&str]| {
        let mut command = cluster.worker_command(0);
        command.args(["--listen", "0.0.0.0:0", "--insecure"]).args(flags);
        Process::start(command)
    };
    worker(&[]).finish().expect_code(1).expect_said("0.0.0.0").expect_said("--advertise");
    worker(&["--advertise", "here"]).finish().expect_code(2).expect_said("a host and a port");
    let _worker = worker(&["--advertise", "worker-3.example.com:7172"]);
    cluster.wait_for_workers(1);
    assert_eq!(cluster.member(0)["shuffle_address"], "worker-3.example.com:7172");
}
