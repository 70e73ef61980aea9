//! A coordinator and workers as real processes on free ports of this machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use windrow_jobs::{JobIdentity, JobName};

use crate::jobs::WRITES;

use super::{Dir, Output, Process, free_port, generic_windrow, wait_for, windrow};

/// A running cluster. All its processes are killed when it is dropped.
pub struct Cluster {
    /// The URLs for its clients, of all coordinators that are, or may become, in charge.
    pub url: String,
    pub coordinator: Process,
    pub workers: Vec<Process>,
    /// Where the coordinator listens, and where the next one will.
    listen: String,
    standby: Option<String>,
    dir: Dir,
    options: ClusterOptions,
    started_workers: usize,
    users: String,
}

/// How a cluster differs from the usual one.
#[derive(Clone)]
pub struct ClusterOptions {
    /// Threads a worker.
    pub threads: u32,
    /// Of the coordinator, such as "1s".
    pub lease: &'static str,
    /// Whether each worker has a host name of its own, so that they fetch from each other over gRPC
    /// instead of reading each other's files. Takes root.
    pub own_hosts: bool,
    /// Whether its processes are of the plain `windrow` executable, and not of this one.
    pub is_generic: bool,
    /// Whether another coordinator may take over, at an address in everybody's list from the start.
    pub standby: bool,
    /// The folder of the coordinator's journal, unless it is in the cluster's folder.
    pub state: Option<PathBuf>,
    /// For the first coordinator only.
    pub coordinator_env: Environment,
    /// Whether it is secured: TLS, and members only.
    pub secured: bool,
    /// The lifetime of certificates.
    pub certificate_lifetime: &'static str,
    /// How long expired certificates are still renewed.
    pub certificate_grace: &'static str,
}

/// Names and values.
pub type Environment = &'static [(&'static str, &'static str)];

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            // Each worker runs two maps at once, so that none waits for a core that a stalled map
            // holds.
            threads: 2,
            lease: "10s",
            own_hosts: false,
            is_generic: false,
            standby: false,
            state: None,
            coordinator_env: &[],
            secured: false,
            certificate_lifetime: "24h",
            certificate_grace: "7d",
        }
    }
}

impl ClusterOptions {
    /// A command of one of its processes.
    fn command(&self, arguments: &[&str]) -> Command {
        if self.is_generic { generic_windrow(arguments) } else { windrow(arguments) }
    }
}

impl Cluster {
    /// Starts a coordinator and `workers` workers, and waits until all have joined.
    pub fn start(workers: usize) -> Self {
        Self::with_options(workers, ClusterOptions::default())
    }

    pub fn with_options(workers: usize, options: ClusterOptions) -> Self {
        let dir = Dir::new();
        let state = options.state.clone().unwrap_or_else(|| dir.join("state"));
        let options = ClusterOptions { state: Some(state.clone()), ..options };
        if options.secured {
            let init = windrow([OsStr::new("init"), dir.join("security").as_os_str()]);
            Process::start(init).finish().expect_code(0);
        }
        let mut command = coordinator(&dir, &options, "127.0.0.1:0");
        command.envs(options.coordinator_env.iter().copied());
        let coordinator = Process::start(command);
        let first = wait_for("the coordinator's address", || {
            std::fs::read_to_string(state.join("address")).ok().map(|url| url.trim().to_string())
        });
        let standby = options.standby.then(|| format!("127.0.0.1:{}", free_port()));
        let (scheme, listen) = first.split_once("://").unwrap();
        let listen = listen.to_string();
        let url = match &standby {
            Some(second) => format!("{first},{scheme}://{second}"),
            None => first,
        };
        let mut cluster = Self {
            url,
            coordinator,
            workers: Vec::new(),
            listen,
            standby,
            dir,
            options,
            started_workers: 0,
            users: String::new(),
        };
        for _ in 0..workers {
            cluster.add_worker();
        }
        cluster.wait_for_workers(workers);
        cluster
    }

    /// Kills the coordinator and starts another with the same address and state.
    pub fn restart_coordinator(&mut self) {
        self.restart_coordinator_with(&[]);
    }

    /// The same, with variables in its environment.
    pub fn restart_coordinator_with(&mut self, environment: &[(&str, &str)]) {
        self.restart_coordinator_as(|mut command| {
            command.envs(environment.iter().copied());
            command
        });
    }

    /// The same, with a changed command.
    pub fn restart_coordinator_as(&mut self, change: impl FnOnce(Command) -> Command) {
        self.coordinator.kill();
        self.coordinator = Process::start(change(self.coordinator_command()));
    }

    /// The same, with its log elsewhere.
    pub fn restart_coordinator_saying_to(&mut self, stderr: Stdio) {
        self.coordinator.kill();
        let command = self.coordinator_command();
        self.coordinator = Process::start_saying_to(command, None, Some(stderr));
    }

    /// Starts another coordinator at the standby's address, waits until it is in charge, and
    /// returns the one that it replaces, in whatever state. From then on, commands ask only the new
    /// one.
    pub fn take_over(&mut self) -> Process {
        self.take_over_with(&[])
    }

    /// The same, with variables in the new one's environment.
    pub fn take_over_with(&mut self, environment: &[(&str, &str)]) -> Process {
        self.listen = self.standby.take().unwrap();
        let mut command = self.coordinator_command();
        command.arg("--take-over").envs(environment.iter().copied());
        self.url = format!("{}://{}", scheme(&self.options), self.listen);
        let replaced = std::mem::replace(&mut self.coordinator, Process::start(command));
        let address = self.state().join("address");
        super::eventually("the other coordinator to be in charge", || {
            // Also if it is stopped at a failpoint of its journal or a publication.
            std::fs::read_to_string(&address).unwrap().trim() == self.url
                || self.coordinator.is_stopped()
        });
        replaced
    }

    /// The command of a coordinator of this cluster.
    fn coordinator_command(&self) -> Command {
        coordinator(&self.dir, &self.options, &self.listen)
    }

    /// The folder of the coordinator's state.
    pub fn state(&self) -> PathBuf {
        self.options.state.clone().unwrap()
    }

    /// The folder of all its processes; worker N has `worker-N` in it.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Starts one more worker, without waiting for it to join.
    pub fn add_worker(&mut self) {
        self.add_worker_at(&self.url.clone(), &[]);
    }

    /// The same, with another URL of the coordinator, and more flags.
    pub fn add_worker_at(&mut self, coordinator: &str, flags: &[&str]) {
        let mut command = self.worker_command_at(self.started_workers, coordinator);
        command.args(flags);
        self.started_workers += 1;
        self.workers.push(Process::start(command));
    }

    /// The number of the worker that runs `process`: its own, or a child.
    pub fn worker_of(&self, process: u32) -> Option<usize> {
        let family = super::ancestors(process);
        self.workers.iter().position(|worker| family.contains(&worker.id()))
    }

    /// The folder of worker number `n`.
    pub fn worker_dir(&self, n: usize) -> PathBuf {
        self.dir.join(format!("worker-{n}"))
    }

    /// The folder of the jobs of worker number `n`.
    pub fn jobs_dir(&self, n: usize) -> PathBuf {
        self.worker_dir(n).join("jobs")
    }

    /// What the processes of a running job have printed on worker number `n`.
    pub fn printed(&self, job: u64, n: usize) -> String {
        let files = std::fs::read_dir(self.jobs_dir(n).join(format!("job-{job}")));
        let paths = files.into_iter().flatten().map(|file| file.unwrap().path());
        let logs =
            paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|log| std::fs::read_to_string(log).unwrap()).collect()
    }

    /// The command of a worker, without a coordinator.
    pub fn command_of_lone_worker(folder: &Path) -> Command {
        let coordinator = format!("http://127.0.0.1:{}", free_port());
        let mut command = windrow(["worker", "--coordinator", &coordinator, "--dir"]);
        command.arg(folder);
        command
    }

    /// The command of the worker with folder number `n`.
    pub fn worker_command(&self, n: usize) -> Command {
        self.worker_command_at(n, &self.url)
    }

    fn worker_command_at(&self, n: usize, coordinator: &str) -> Command {
        let mut command = self.options.command(&["worker", "--coordinator", coordinator]);
        if self.options.own_hosts {
            command = on_another_host(&command, &format!("host-{n}"));
        }
        command
            .args(["--threads", &self.options.threads.to_string()])
            .args(["--name", &format!("w{n}")])
            .arg("--dir")
            .arg(self.worker_dir(n));
        if self.options.secured {
            command.args(["--token", &self.token("worker")]);
        }
        command
    }

    /// A join token of a secured cluster.
    pub fn token(&self, role: &str) -> String {
        self.token_with(role, &[])
    }

    /// The same, with more flags.
    pub fn token_with(&self, role: &str, flags: &[&str]) -> String {
        let mut command = windrow(["token", "--role", role]);
        command.args(flags).arg(self.dir.join("security"));
        let output = Process::start(command).finish().expect_code(0);
        output.stdout.trim().to_string()
    }

    /// The folder of the admin's credentials.
    pub fn admin(&self) -> PathBuf {
        self.dir.join("security/admin")
    }

    /// Waits until exactly `n` workers are members, by the coordinator's answer: while its disk is
    /// slow, it refuses to answer.
    pub fn wait_for_workers(&self, n: usize) {
        super::eventually(&format!("{n} workers"), || {
            let output = self.command(["workers", "--json"]).finish();
            output.code() == Some(0) && output.stdout.lines().count() == n
        });
    }

    /// The members, as `windrow workers --json` prints them.
    pub fn worker_list(&self) -> Vec<serde_json::Value> {
        let output = self.command(["workers", "--json"]).finish().expect_code(0);
        output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Worker number `n` as the coordinator reports it. It must be a member.
    pub fn member(&self, n: usize) -> serde_json::Value {
        let name = format!("w{n}");
        self.worker_list().into_iter().find(|worker| worker["name"] == *name).unwrap()
    }

    /// Waits until the cluster knows a job.
    pub fn wait_for_job(&self, job: u64) {
        super::eventually(&format!("job {job}"), || {
            self.command(["status", &job.to_string()]).finish().code() == Some(0)
        });
    }

    /// The job as `windrow status --json` prints it.
    pub fn status(&self, job: u64) -> serde_json::Value {
        self.command(["status", &job.to_string(), "--json"]).finish().expect_code(0).last_json()
    }

    /// The identity of a job.
    pub fn identity(&self, job: u64) -> JobIdentity {
        match self.status(job)["identity"].as_str().unwrap().parse() {
            Ok(JobName::Identity(identity)) => identity,
            other => panic!("{other:?}"),
        }
    }

    /// Starts a command that asks this cluster.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Process {
        let mut command = windrow(arguments);
        self.ask(&mut command);
        Process::start(command)
    }

    /// From now on, commands accept these users at the other end, too.
    pub fn share_with(&mut self, users: &str) {
        self.users = users.to_string();
    }

    /// Makes a command ask this cluster, as the admin.
    fn ask(&self, command: &mut Command) {
        if !self.users.is_empty() {
            command.env("WINDROW_ALLOW_USER", &self.users);
        }
        command.env("WINDROW_COORDINATOR", &self.url).env("WINDROW_CREDENTIALS", self.admin());
    }

    /// Submits a job and returns its id at once.
    pub fn submit_detached<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> u64 {
        let mut command = submit(arguments);
        command.arg("--detach");
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
        Process::start(self.submit_command(arguments))
    }

    /// The command that [`Self::start_submit`] starts.
    pub fn submit_command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = submit(arguments);
        self.ask(&mut command);
        command
    }
}

/// A submission that declares the folders that test jobs write to besides their output.
fn submit<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = windrow(["submit"]);
    command.args(arguments);
    let arguments: Vec<_> = command.get_args().map(OsStr::to_os_string).collect();
    for pair in arguments.windows(2).filter(|pair| WRITES.iter().any(|flag| pair[0] == *flag)) {
        let path = Path::new(&pair[1]);
        let folder = if path.is_dir() { path } else { path.parent().unwrap() };
        command.arg("--allow-write").arg(folder);
    }
    command
}

fn coordinator(dir: &Dir, options: &ClusterOptions, listen: &str) -> Command {
    let flags = ["coordinator", "--listen", listen, "--lease", options.lease];
    let mut command = options.command(&flags);
    command.arg("--state").arg(options.state.as_ref().unwrap());
    if options.secured {
        command.arg("--security").arg(dir.join("security"));
        command.args(["--certificate-lifetime", options.certificate_lifetime]);
        command.args(["--certificate-grace", options.certificate_grace]);
    }
    command
}

fn scheme(options: &ClusterOptions) -> &'static str {
    if options.secured { "https" } else { "http" }
}

/// The command in a time namespace whose monotonic clocks are ahead of all others. Needs root.
pub fn with_clock_ahead(command: &Command, seconds: u32) -> Command {
    let seconds = seconds.to_string();
    let mut other = Command::new("unshare");
    other
        .args(["--time", "--monotonic", &seconds, "--boottime", &seconds, "--kill-child"])
        .arg(command.get_program())
        .args(command.get_args());
    other
}

/// The command in a UTS namespace with another host name.
fn on_another_host(command: &Command, name: &str) -> Command {
    let mut other = Command::new("unshare");
    other
        .args(["--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\"", name])
        .arg(command.get_program())
        .args(command.get_args());
    other
}
