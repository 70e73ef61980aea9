//! Other users of the machine, who can reach every port on loopback: an open cluster serves its own
//! user only, and no process works for another user's cluster by mistake.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::support::{
    Dir, Process, as_user, count_words, eventually, free_port, generated_words, root_case,
    sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        root_case("neighbours::an_open_cluster_refuses_other_users", an_open_cluster),
        root_case(
            "neighbours::shuffled_data_is_refused_to_other_users",
            shuffled_data_is_refused_to_other_users,
        ),
        root_case(
            "neighbours::no_worker_runs_jobs_of_a_squatter",
            no_worker_runs_jobs_of_a_squatter,
        ),
        root_case("neighbours::a_cluster_can_be_shared", a_cluster_can_be_shared),
    ]
}

const ANN: u32 = 43_001;
const BOB: u32 = 43_002;

/// A home for each user, and one for all.
struct Home(Dir);

impl Home {
    fn new() -> Self {
        let dir = Dir::new();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        for (name, user) in [("ann", ANN), ("bob", BOB)] {
            fs::create_dir(dir.join(name)).unwrap();
            std::os::unix::fs::chown(dir.join(name), Some(user), Some(user)).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    fn command(&self, user: u32, arguments: &[&str]) -> Command {
        let mut command = as_user(user, "", &windrow(arguments));
        command.current_dir(self.0.path());
        command
    }

    fn start(&self, user: u32, arguments: &[&str]) -> Process {
        Process::start(self.command(user, arguments))
    }

    fn coordinator(&self, user: u32, more: &[&str]) -> (Process, String) {
        let flags = [&["coordinator", "--listen", "127.0.0.1:0"], more].concat();
        let coordinator = self.start(user, &flags);
        let url = coordinator.url();
        (coordinator, url)
    }

    fn workers(&self, user: u32, url: &str, more: &[&str]) -> usize {
        let ask = [&["workers", "--json", "--coordinator", url], more].concat();
        self.start(user, &ask).finish().expect_code(0).stdout.lines().count()
    }
}

fn an_open_cluster() {
    let home = Home::new();
    let inputs = generated_words(&home.0, 2, 1_000);
    let (coordinator, url) = home.coordinator(ANN, &["--state", &home.path("ann/state")]);
    let _worker = home.start(ANN, &["worker", "--coordinator", &url, "--dir", &home.path("ann/w")]);
    eventually("Ann's worker", || home.workers(ANN, &url, &[]) == 1);
    let submit = |user: u32, output: &str, more: &[&str]| {
        let (input, output) = (home.path("in"), home.path(output));
        let flags = ["submit", "word-count", "--input", &input, "--output", &output];
        home.start(user, &[&flags[..], &["--coordinator", &url], more].concat()).finish()
    };
    // Without a flag, and without a file in any home folder.
    submit(ANN, "ann/out", &[]).expect_code(0);
    assert_eq!(sorted_lines(&home.0.join("ann/out")), count_words(&inputs));
    // Bob's commands notice the other user; if he allows that, the coordinator does.
    let theirs = format!("another user's of this machine: number {ANN}, and this is {BOB}");
    let insist = ["--allow-user", &ANN.to_string()];
    let refused =
        format!("this cluster is for user {ANN} of this machine, and user {BOB} has called");
    submit(BOB, "bob/out", &["--coordinator-wait", "0s"]).expect_said(&theirs);
    submit(BOB, "bob/out", &insist).expect_said(&refused);
    for command in [&["jobs"][..], &["cancel", "1"], &["logs", "1"], &["workers"]] {
        let ask = [command, &["--coordinator", &url]].concat();
        home.start(BOB, &ask).finish().expect_said(&theirs);
        let insisting = home.start(BOB, &[&ask[..], &insist].concat()).finish();
        assert_ne!(insisting.code(), Some(0));
        insisting.expect_said(&refused);
    }
    let flags = ["worker", "--coordinator", &url, "--dir", &home.path("bob/w")];
    let refused_worker = home.start(BOB, &[&flags[..], &insist].concat());
    eventually("a refusal", || refused_worker.stderr().contains(&refused));
    assert!(!home.0.join("bob/out").exists());
    assert_eq!(home.workers(ANN, &url, &[]), 1);
    drop(coordinator);
}

/// The port for shuffled data does not answer other users.
fn shuffled_data_is_refused_to_other_users() {
    let home = Home::new();
    let (_coordinator, url) = home.coordinator(ANN, &[]);
    let listen = format!("127.0.0.1:{}", free_port());
    let flags = ["worker", "--coordinator", &url, "--listen", &listen, "--dir"];
    let worker = home.start(ANN, &[&flags[..], &[&home.path("ann/w")]].concat());
    eventually("Ann's worker", || home.workers(ANN, &url, &[]) == 1);
    // Root is admitted, and told that there is no such job.
    assert!(answers(&listen), "the data port is open to root");
    let probe = "import socket,sys,encodings.idna\n\
                 s=socket.socket(); s.connect(('127.0.0.1',int(sys.argv[1]))); s.settimeout(60)\n\
                 s.send(b'windrow-shuffle/2 job '+b'0'*32+b'\\nPRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0')\n\
                 try: print('answered' if s.recv(9) else 'closed')\n\
                 except ConnectionError: print('closed')\n";
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", probe, listen.split_once(':').unwrap().1]);
    let probed = Process::start(as_user(BOB, "", &python)).finish().expect_code(0);
    assert_eq!(probed.stdout.trim(), "closed");
    let said = format!("number {BOB}");
    eventually("word of it", || worker.stderr().contains(&said));
}

fn answers(address: &str) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hello = b"\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(b"windrow-shuffle/2 job ").unwrap();
    stream.write_all(&[b'0'; 32]).unwrap();
    stream.write_all(hello).unwrap();
    stream.read(&mut [0; 9]).is_ok_and(|bytes| bytes > 0)
}

/// Bob listens at the address of Ann's coordinator, which is down: her worker does not run his jobs
/// with her permissions, and continues when her coordinator is back.
fn no_worker_runs_jobs_of_a_squatter() {
    let home = Home::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{listen}");
    let squatter =
        home.start(BOB, &["coordinator", "--insecure", "--allow-path", "/", "--listen", &listen]);
    eventually("the squatter", || squatter.stderr().contains("ready at"));
    let worker = home.start(ANN, &["worker", "--coordinator", &url, "--dir", &home.path("ann/w")]);
    let theirs = format!("another user's of this machine: number {BOB}");
    eventually("a refusal", || worker.stderr().contains(&theirs));
    assert_eq!(home.workers(BOB, &url, &[]), 0);
    drop(squatter);
    let _own = home.start(ANN, &["coordinator", "--listen", &listen]);
    eventually("Ann's worker", || {
        let ask = ["workers", "--json", "--coordinator", &url];
        home.start(ANN, &ask).finish().stdout.lines().count() == 1
    });
}

/// Both ends must say so.
fn a_cluster_can_be_shared() {
    let home = Home::new();
    let (ann, bob) = (ANN.to_string(), BOB.to_string());
    let (_coordinator, url) = home.coordinator(ANN, &["--allow-user", &bob]);
    assert_eq!(home.workers(BOB, &url, &["--allow-user", &ann]), 0);
    let wrong = home.start(BOB, &["jobs", "--allow-user", "nobody-by-that-name"]).finish();
    wrong.expect_code(2).expect_said("/etc/passwd knows no user 'nobody-by-that-name'");
}
