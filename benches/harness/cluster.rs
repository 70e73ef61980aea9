//! A coordinator and two workers on this machine, and what they use while a job runs.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Result, WINDROW};

const WORKERS: usize = 2;
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Each worker has half of the cores. All are killed when this is dropped.
pub struct Cluster {
    pub url: String,
    processes: Vec<Child>,
}

impl Cluster {
    /// Starts it, with its files below `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        let state = dir.join("coordinator");
        let mut coordinator = Command::new(WINDROW);
        coordinator.args(["coordinator", "--listen", "127.0.0.1:0", "--state"]).arg(&state);
        let mut cluster = Self { url: String::new(), processes: vec![start(&mut coordinator)?] };
        cluster.url = wait_for_address(&state.join("address"))?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.div_ceil(WORKERS).to_string();
        for n in 0..WORKERS {
            let mut worker = Command::new(WINDROW);
            worker.args(["worker", "--coordinator", &cluster.url, "--threads", &threads, "--dir"]);
            cluster.processes.push(start(worker.arg(dir.join(format!("worker-{n}"))))?);
        }
        Ok(cluster)
    }

    /// CPU time of all processes since they started, to a hundredth of a second.
    pub fn cpu(&self) -> Result<Duration> {
        let ticks = self.processes.iter().map(ticks_of).sum::<Result<u64>>()?;
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Forgets how large the processes have been.
    pub fn reset_peak_rss(&self) -> Result<()> {
        for process in &self.processes {
            fs::write(format!("/proc/{}/clear_refs", process.id()), "5")?;
        }
        Ok(())
    }

    /// The sum of what each process had at its largest since the reset.
    pub fn peak_rss_bytes(&self) -> Result<u64> {
        self.processes.iter().map(peak_rss_of).sum()
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

fn start(command: &mut Command) -> std::io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn wait_for_address(file: &Path) -> Result<String> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        match fs::read_to_string(file) {
            Ok(url) => return Ok(url.trim().to_string()),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => thread::park_timeout(Duration::from_millis(5)),
        }
    }
}

/// User and system time: fields 14 and 15 of `stat`, counted from the bracket that ends the name.
fn ticks_of(process: &Child) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
    let fields = stat.rsplit(") ").next().unwrap_or("").split(' ').skip(11).take(2);
    fields.map(|field| Ok(field.parse::<u64>()?)).sum()
}

fn peak_rss_of(process: &Child) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line
        .ok_or("the system does not say how large processes are")?
        .trim()
        .trim_end_matches(" kB");
    Ok(kib.parse::<u64>()? * 1024)
}
