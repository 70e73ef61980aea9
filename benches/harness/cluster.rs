//! A coordinator and two workers on this machine, and what they use during a job.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::{Result, WINDROW};

const WORKERS: usize = 2;

/// The interval between two looks at the processes' memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Each worker has half of the cores. Nothing needs to survive it: as in `run`, output is not
/// forced to disk. Its processes are killed when it is dropped.
pub struct Cluster {
    pub url: String,
    processes: Vec<Child>,
}

impl Cluster {
    /// Starts it, with its files below `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        let mut coordinator = Command::new(WINDROW);
        coordinator.args(["coordinator", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
        let mut cluster = Self { url: String::new(), processes: vec![start(&mut coordinator)?] };
        cluster.url = wait_for_address(&mut cluster.processes[0])?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.div_ceil(WORKERS).to_string();
        for n in 0..WORKERS {
            let mut worker = Command::new(WINDROW);
            worker.args(["worker", "--coordinator", &cluster.url, "--threads", &threads, "--dir"]);
            worker.arg(dir.join(format!("worker-{n}"))).stderr(Stdio::null());
            cluster.processes.push(start(&mut worker)?);
        }
        Ok(cluster)
    }

    /// CPU time of all processes since their start, including jobs' processes, to a hundredth of a
    /// second.
    pub fn cpu(&self) -> Result<Duration> {
        let ticks: u64 = family(&self.ids()).into_iter().map(ticks_of).sum();
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Runs `work`, and measures the peak memory of all processes together.
    pub fn peak_rss_bytes<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
        let ids = self.ids();
        let (done, is_done) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let looking = scope.spawn(move || {
                let mut peak = 0;
                while is_done.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    peak = peak.max(family(&ids).into_iter().map(rss_bytes_of).sum());
                }
                peak
            });
            let worked = work();
            drop(done);
            let peak = looking.join().map_err(|_| "looking at processes failed")?;
            Ok((worked?, peak))
        })
    }

    fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn start(command: &mut Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

/// The address in a coordinator's first message. Later messages are discarded.
fn wait_for_address(coordinator: &mut Child) -> Result<String> {
    let said = coordinator.stderr.take().ok_or("its output was not asked for")?;
    let mut lines = BufReader::new(said).lines();
    let ready = lines.find_map(|line| Some(line.ok()?.split_once("ready at ")?.1.to_string()));
    thread::spawn(move || lines.for_each(drop));
    ready.ok_or_else(|| "the coordinator did not start".into())
}

/// These processes and all their descendants.
fn family(ids: &[u32]) -> Vec<u32> {
    let mut all = ids.to_vec();
    let mut next = 0;
    while let Some(id) = all.get(next) {
        let threads = fs::read_dir(format!("/proc/{id}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

/// User and system time of a process and its ended children: fields 14 to 17 of `stat`, counted
/// from the bracket that ends the name. Zero if it has gone.
fn ticks_of(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or("").split(' ').skip(11).take(4);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Zero if it has gone.
fn rss_bytes_of(id: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{id}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
