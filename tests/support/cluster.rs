//! A coordinator and workers as real processes on free ports of this machine.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use super::{Dir, Output, Process, wait_for, windrow};

/// A running cluster. All its processes are killed when it is dropped.
pub struct Cluster {
    pub url: String,
    pub coordinator: Process,
    pub workers: Vec<Process>,
    dir: Dir,
    options: ClusterOptions,
    started_workers: usize,
}

/// How a cluster differs from the usual one.
#[derive(Clone)]
pub struct ClusterOptions {
    /// Threads a worker.
    pub threads: u32,
    /// Of the coordinator, such as "1s".
    pub lease: &'static str,
    /// Whether each worker has a host name of its own, so that they fetch from each other over gRPC instead of
    /// reading each other's files. Takes root.
    pub own_hosts: bool,
    /// Whether only members are let in, over TLS.
    pub secured: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        // Two maps of a worker run side by side, so that none waits for the core of one that a test has stalled.
        Self { threads: 2, lease: "10s", own_hosts: false, secured: false }
    }
}

impl Cluster {
    /// Starts a coordinator and `workers` workers, and waits until all have joined.
    pub fn start(workers: usize) -> Self {
        Self::with_options(workers, ClusterOptions::default())
    }

    pub fn with_options(workers: usize, options: ClusterOptions) -> Self {
        let dir = Dir::new();
        let state = dir.join("state");
        if options.secured {
            let init = windrow([OsStr::new("init"), dir.join("security").as_os_str()]);
            Process::start(init).finish().expect_code(0);
        }
        let coordinator = Process::start(coordinator_command(&dir, &options, "127.0.0.1:0"));
        let url = wait_for("the coordinator's address", || {
            std::fs::read_to_string(state.join("address")).ok().map(|url| url.trim().to_string())
        });
        let mut cluster =
            Self { url, coordinator, workers: Vec::new(), dir, options, started_workers: 0 };
        for _ in 0..workers {
            cluster.add_worker();
        }
        cluster.wait_for_workers(workers);
        cluster
    }

    /// Kills the coordinator and starts another one with the same address and the same state.
    pub fn restart_coordinator(&mut self) {
        self.coordinator.kill();
        let (_, listen) = self.url.split_once("://").unwrap();
        self.coordinator = Process::start(coordinator_command(&self.dir, &self.options, listen));
    }

    /// The folder of all its processes; worker number N has `worker-N` in it.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Starts one more worker, without waiting for it to join.
    pub fn add_worker(&mut self) {
        let process = Process::start(self.worker_command(self.started_workers));
        self.started_workers += 1;
        self.workers.push(process);
    }

    /// The command of the worker with folder number `n`.
    pub fn worker_command(&self, n: usize) -> Command {
        let mut command = windrow(["worker", "--coordinator", &self.url]);
        if self.options.own_hosts {
            command = on_another_host(&command, &format!("host-{n}"));
        }
        command
            .args(["--threads", &self.options.threads.to_string()])
            .args(["--name", &format!("w{n}")])
            .arg("--dir")
            .arg(self.dir.join(format!("worker-{n}")));
        if self.options.secured {
            command.args(["--token", &self.token("worker")]);
        }
        command
    }

    /// A join token of a secured cluster.
    pub fn token(&self, role: &str) -> String {
        self.token_with(role, &[])
    }

    /// Likewise, with more flags.
    pub fn token_with(&self, role: &str, flags: &[&str]) -> String {
        let mut command = windrow(["token", "--role", role]);
        command.args(flags).arg(self.dir.join("security"));
        let output = Process::start(command).finish().expect_code(0);
        output.stdout.trim().to_string()
    }

    /// Where the admin's credentials are.
    pub fn admin(&self) -> PathBuf {
        self.dir.join("security/admin")
    }

    /// Waits until exactly `n` workers are members.
    pub fn wait_for_workers(&self, n: usize) {
        super::eventually(&format!("{n} workers"), || self.worker_list().len() == n);
    }

    /// The members, as `windrow workers --json` prints them.
    pub fn worker_list(&self) -> Vec<serde_json::Value> {
        let output = self.command(["workers", "--json"]).finish().expect_code(0);
        output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The job as `windrow status --json` prints it.
    pub fn status(&self, job: u64) -> serde_json::Value {
        self.command(["status", &job.to_string(), "--json"]).finish().expect_code(0).last_json()
    }

    /// Starts a command that asks this cluster.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Process {
        let mut command = windrow(arguments);
        self.ask(&mut command);
        Process::start(command)
    }

    /// Has a command ask this cluster, as the admin.
    fn ask(&self, command: &mut Command) {
        command.env("WINDROW_COORDINATOR", &self.url).env("WINDROW_CREDENTIALS", self.admin());
    }

    /// Submits a job and returns its id at once.
    pub fn submit_detached<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> u64 {
        let mut command = windrow(["submit"]);
        command.args(arguments).arg("--detach");
        self.ask(&mut command);
        let output = Process::start(command).finish().expect_code(0);
        output.stdout.trim().parse().unwrap()
    }

    /// Submits a job and waits for its end.
    pub fn submit<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.start_submit(arguments).finish()
    }

    /// Submits a job with a process that waits for its end.
    pub fn start_submit<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Process {
        let mut command = windrow(["submit"]);
        command.args(arguments);
        self.ask(&mut command);
        Process::start(command)
    }
}

fn coordinator_command(dir: &Dir, options: &ClusterOptions, listen: &str) -> Command {
    let mut command = windrow(["coordinator", "--listen", listen, "--lease", options.lease]);
    command.arg("--state").arg(dir.join("state"));
    if options.secured {
        command.arg("--security").arg(dir.join("security"));
    }
    command
}

/// The same command in a UTS namespace with another host name.
fn on_another_host(command: &Command, name: &str) -> Command {
    let mut other = Command::new("unshare");
    other
        .args(["--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\"", name])
        .arg(command.get_program())
        .args(command.get_args());
    other
}
