//! The coordinator under measurement: a process, with or without a journal.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;

const WINDROW: &str = env!("CARGO_BIN_EXE_windrow");

/// Killed when it is dropped.
pub struct Coordinator {
    /// `host:port`.
    pub address: String,
    process: Child,
}

impl Coordinator {
    /// Starts it, with its journal in `state`.
    pub fn start(state: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(WINDROW);
        command.args(["coordinator", "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(state) = state {
            command.arg("--state").arg(state);
        }
        let mut process = command.spawn()?;
        let said = process.stderr.take().ok_or("its output was not asked for")?;
        let mut lines = BufReader::new(said).lines();
        let ready = lines.find_map(|line| Some(line.ok()?.split_once("ready at ")?.1.to_string()));
        thread::spawn(move || lines.for_each(drop));
        let mut started = Self { address: String::new(), process };
        let url = ready.ok_or("the coordinator did not start")?;
        started.address = url.trim_start_matches("http://").to_string();
        Ok(started)
    }

    /// User and system time since its start.
    pub fn cpu(&self) -> Duration {
        let stat = of_process(self.process.id(), "stat");
        // The name may contain anything, so fields are counted from its closing bracket.
        let fields = stat.rsplit(") ").next().unwrap_or("").split(' ').skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Its peak memory.
    pub fn peak_rss_bytes(&self) -> u64 {
        peak_rss_bytes(self.process.id())
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The peak memory of a process.
pub fn peak_rss_bytes(process: u32) -> u64 {
    let status = of_process(process, "status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

fn of_process(process: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default()
}

/// Raises the limit of descriptors of this process and its children, as far as the system allows.
pub fn allow_descriptors(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current.map(|current| current.max(wanted).min(maximum.unwrap_or(u64::MAX)));
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}
