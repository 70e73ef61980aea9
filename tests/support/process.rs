//! Child processes that never outlive their test, or a deadline.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::Dir;
use super::wait::{DEADLINE, wait_for};
use crate::AS_WINDROW;

/// A command of this binary as a Windrow program.
pub fn windrow<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .arg(AS_WINDROW)
        .args(arguments)
        .env_remove("WINDROW_COORDINATOR")
        .env_remove("WINDROW_CREDENTIALS")
        .env_remove("WINDROW_TOKEN")
        .env_remove("WINDROW_ALLOW_USER")
        .env_remove("WINDROW_FAILPOINT")
        .env_remove("RUST_LOG");
    command
}

/// A command of the plain `windrow` executable, which has only the ready jobs.
pub fn generic_windrow<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windrow"));
    command.args(arguments).env_remove("WINDROW_COORDINATOR").env_remove("RUST_LOG");
    command
}

/// A running child. Killed when dropped.
pub struct Process {
    child: Child,
    output: Dir,
}

/// The results of a finished child.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts `command`. Its output goes to files, so that it never blocks on a pipe.
    pub fn start(command: Command) -> Self {
        Self::start_saying_to(command, None, None)
    }

    /// The same, with its standard error elsewhere.
    pub fn start_saying_to(
        mut command: Command,
        stdout: Option<Stdio>,
        stderr: Option<Stdio>,
    ) -> Self {
        let output = Dir::new();
        let file = |name: &str| Stdio::from(File::create(output.join(name)).unwrap());
        let (out, err) = (file("stdout"), file("stderr"));
        command.stdin(Stdio::null()).stdout(stdout.unwrap_or(out)).stderr(stderr.unwrap_or(err));
        Self { child: command.spawn().unwrap(), output }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Whether it handles the signal.
    pub fn catches(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        mask & 1 << (signal.as_raw() - 1) != 0
    }

    /// Kills it with SIGKILL, without any chance to clean up, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit status, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it is stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        status.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    pub fn stdout(&self) -> String {
        read(&self.output.join("stdout"))
    }

    pub fn stderr(&self) -> String {
        read(&self.output.join("stderr"))
    }

    /// The URL of this coordinator, from its log.
    pub fn url(&self) -> String {
        wait_for("the coordinator's address", || {
            let log = self.stderr();
            Some(log.split_once("ready at ")?.1.split_once('\n')?.0.to_string())
        })
    }

    /// Waits for its end; kills it and panics if that takes too long.
    pub fn finish(mut self) -> Output {
        let start = Instant::now();
        let status = wait_for("a child's end", || {
            let status = self.child.try_wait().unwrap();
            if status.is_none() && start.elapsed() * 10 > DEADLINE * 9 {
                panic!("a child hangs; it said: {}{}", self.stdout(), self.stderr());
            }
            status
        });
        Output { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Output {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Panics with the child's output unless it ended with `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless `text` is in its standard error or output.
    #[track_caller]
    pub fn expect_said(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text) || self.stdout.contains(text),
            "did not say {text:?}; stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The last object that `--json` printed.
    pub fn last_json(&self) -> serde_json::Value {
        let line =
            self.stdout.lines().last().unwrap_or_else(|| panic!("nothing printed: {self:?}"));
        serde_json::from_str(line).unwrap()
    }
}

/// A port that was free a moment ago, and is given to nobody else.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process, its parent, and so on: user code may run in a child of its worker. Empty if it has
/// gone.
pub fn ancestors(process: u32) -> Vec<u32> {
    std::iter::successors(parent(process).map(|_| process), |process| parent(*process))
        .take_while(|process| *process != 0)
        .collect()
}

fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The fields are PID (NAME) STATE PARENT; a name may contain anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
