//! Strangers and members that take as much as they can get do not affect others.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io, thread};

use libtest_mimic::Trial;

use super::gated_job::GatedJob;
use crate::support::{
    Cluster, ClusterOptions, Dir, Flood, Process, below, case, count_words,
    enroll_with_garbage_until_the_end, eventually, generated_words, root_case, sorted_lines,
    windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::floods::silent_callers", silent_callers),
        case("faults::floods::callers_that_begin_a_handshake", callers_that_begin),
        // Only root can see how many files other processes have open.
        root_case("faults::floods::few_open_files", few_open_files),
        case("faults::floods::an_open_cluster", an_open_cluster),
        case("faults::floods::newcomers_have_one_call", newcomers_have_one_call),
        case("faults::floods::many_jobs_of_one_member", many_jobs_of_one_member),
        case("faults::floods::a_command_connects_again", a_command_connects_again),
        root_case("faults::floods::shuffle_ports", shuffle_ports),
    ]
}

/// The beginning of a ClientHello that never continues.
const BEGUN: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// The beginning of an HTTP/2 connection without a call.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn secured() -> Cluster {
    Cluster::with_options(1, ClusterOptions { secured: true, ..ClusterOptions::default() })
}

fn address(cluster: &Cluster) -> &str {
    cluster.url.rsplit('/').next().unwrap()
}

/// The command with this limit of open files.
fn with_open_files(files: u32, command: &Command) -> Command {
    below(&["prlimit", &format!("--nofile={files}:{files}")], command)
}

/// The cluster still answers commands, takes a new worker, and runs a job.
fn goes_on(cluster: &mut Cluster) {
    cluster.command(["jobs"]).finish().expect_code(0);
    let worker = cluster.worker_command(9);
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(cluster.workers.len());
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    let (input, output) = (dir.join("in"), dir.join("out"));
    let mut command = cluster.submit_command(["word-count"]);
    command.arg("--input").arg(input).arg("--output").arg(&output);
    Process::start(command).finish().expect_code(0);
    assert_eq!(sorted_lines(&output), count_words(&inputs));
}

fn said_lines(process: &Process) -> usize {
    process.stderr().lines().filter(|line| line.contains("refused")).count()
}

/// The flood comes from another address, then from the address of all others.
fn silent_callers() {
    for from in ["127.0.0.2", "127.0.0.1"] {
        let mut cluster = secured();
        let flood = Flood::start(from, address(&cluster), 1_500, b"");
        goes_on(&mut cluster);
        let opened = flood.opened();
        eventually("many more", || flood.opened() > opened + 500);
        // One line a second, and one with the count of the others.
        let lines = said_lines(&cluster.coordinator);
        assert!(lines * 10 < flood.opened(), "{lines} lines of {}", flood.opened());
        flood.end();
    }
}

/// The same flood, of callers that begin a handshake and stop.
fn callers_that_begin() {
    for from in ["127.0.0.2", "127.0.0.1"] {
        let mut cluster = secured();
        let flood = Flood::start(from, address(&cluster), 1_500, BEGUN);
        goes_on(&mut cluster);
        flood.end();
    }
}

/// Connections leave file descriptors for the journal and the jobs' processes.
fn few_open_files() {
    let mut cluster = secured();
    cluster.restart_coordinator_as(|command| with_open_files(256, &command));
    cluster.wait_for_workers(1);
    cluster.workers.clear();
    let worker = with_open_files(256, &cluster.worker_command(1));
    cluster.workers.push(Process::start(worker));
    eventually("the first one to be lost", || {
        let members = cluster.worker_list();
        members.len() == 1 && members[0]["name"] == "w1"
    });
    let shuffle = cluster.member(1)["shuffle_address"].as_str().unwrap().to_string();
    let floods = [
        Flood::start("127.0.0.2", address(&cluster), 500, b""),
        Flood::start("127.0.0.1", address(&cluster), 500, BEGUN),
        Flood::start("127.0.0.2", &shuffle, 500, b""),
        Flood::start("127.0.0.1", &shuffle, 500, b"windrow-shuffle/2 job "),
    ];
    goes_on(&mut cluster);
    for process in cluster.workers.iter().take(1).chain([&cluster.coordinator]) {
        let said = process.stderr();
        assert!(!said.contains("Too many open files"), "{said}");
        let open = fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count();
        assert!(open < 200, "{open} of 256 are open");
    }
    floods.into_iter().for_each(Flood::end);
}

/// Without certificates, a connection without a call is a stranger, too.
fn an_open_cluster() {
    let mut cluster = Cluster::start(1);
    let flood = Flood::start("127.0.0.2", address(&cluster), 1_500, HTTP2);
    goes_on(&mut cluster);
    flood.end();
}

/// A call that needs no certificate does not keep its connection open.
fn newcomers_have_one_call() {
    let cluster = secured();
    enroll_with_garbage_until_the_end(address(&cluster));
}

/// Logs in as another member, and returns the folder of its credentials.
fn member(cluster: &Cluster, name: &str) -> PathBuf {
    let (folder, token) = (cluster.dir().join(name), cluster.token("submitter"));
    let mut command = windrow(["login", "--coordinator", &cluster.url, "--token", &token]);
    command.arg("--credentials").arg(&folder);
    Process::start(command).finish().expect_code(0);
    folder
}

fn submit_as(cluster: &Cluster, member: &Path, job: &GatedJob) {
    let mut command = cluster.submit_command(job.arguments());
    command.arg("--detach").env("WINDROW_CREDENTIALS", member);
    Process::start(command).finish().expect_code(0);
}

/// Free slots go to the submitter with fewer slots, not evenly to jobs.
fn many_jobs_of_one_member() {
    let options = ClusterOptions { secured: true, ..ClusterOptions::default() };
    let cluster = GatedJob::cluster_with(1, options);
    let (ann, bob) = (member(&cluster, "ann"), member(&cluster, "bob"));
    let job = |maps| GatedJob::new(maps, 1_000, &["--reducers", "1"]);
    let (first, second, other) = (job(3), job(3), job(2));
    submit_as(&cluster, &ann, &first);
    first.wait_for_maps(2);
    submit_as(&cluster, &ann, &second);
    submit_as(&cluster, &bob, &other);
    // All three jobs want the free slot, and the second job has none, either.
    first.open(&format!("map-go-{}", first.first_at_its_gate()));
    other.wait_for_maps(1);
    // Both members have one slot now; of ann, one of two jobs has it.
    other.open(&format!("map-go-{}", other.first_at_its_gate()));
    other.wait_for_maps(2);
    assert_eq!((first.maps(), second.maps()), (2, 0), "a job of ann's got the slot");
}

/// Workers on hosts of their own fetch from each other, while an attacker who has seen the job's
/// name on the network opens as many connections as possible, from another address and from theirs.
fn shuffle_ports() {
    let options = ClusterOptions { secured: true, own_hosts: true, ..ClusterOptions::default() };
    let cluster = GatedJob::cluster_with(2, options);
    let job = GatedJob::new(8, 20_000, &["--reducers", "4"]);
    let id = job.submit(&cluster);
    job.wait_for_maps(4);
    let named = format!("windrow-shuffle/2 job {}\n", cluster.identity(id));
    let mut floods = Vec::new();
    for n in 0..2 {
        let port = cluster.member(n)["shuffle_address"].as_str().unwrap().to_string();
        for (from, says) in
            [("127.0.0.2", named.as_str()), ("127.0.0.1", &named), ("127.0.0.1", "")]
        {
            floods.push(Flood::start(from, &port, 1_300, says.as_bytes()));
        }
    }
    job.open("map-go");
    job.open("reduce-go");
    job.finish(&cluster, id);
    floods.into_iter().for_each(Flood::end);
}

/// A coordinator without room hangs up on callers that it does not know yet.
fn a_command_connects_again() {
    let cluster = Cluster::start(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let to = address(&cluster).to_string();
    thread::spawn(move || {
        for (n, caller) in listener.incoming().enumerate() {
            let (Ok(mut caller), true) = (caller, n >= 3) else { continue };
            let mut coordinator = TcpStream::connect(&to).unwrap();
            let mut back = (coordinator.try_clone().unwrap(), caller.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut back.0, &mut back.1));
            thread::spawn(move || io::copy(&mut caller, &mut coordinator));
        }
    });
    Process::start(windrow(["jobs", "--coordinator", &url])).finish().expect_code(0);
}
