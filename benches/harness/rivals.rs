//! The programs that do a row's job, each as a process of its own.

use std::path::Path;
use std::process::Command;

use super::cluster::Cluster;
use super::measure::{self, Cost};
use super::options::Options;
use super::rows::Row;
use super::{Result, WINDROW};

/// Makes this program the command line of its [own job](super::own_job).
pub const OWN_JOB_VARIABLE: &str = "WINDROW_BENCH_OWN_JOB";

/// A way to do the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    Limit,
    Plain,
    Run,
    Submit,
}

impl Rival {
    /// All rivals of a row, the limit first.
    pub fn of(row: &Row) -> Vec<Self> {
        let mut rivals: Vec<_> =
            (!row.limit.is_empty()).then_some(Self::Limit).into_iter().collect();
        rivals.extend(row.plain.map(|_| Self::Plain));
        rivals.push(Self::Run);
        rivals.extend(row.on_cluster.then_some(Self::Submit));
        rivals
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Plain => "plain",
            Self::Run => "windrow run",
            Self::Submit => "windrow submit",
        }
    }
}

/// What a row's rivals have in common.
pub struct Race<'a> {
    pub row: &'a Row,
    pub options: &'a Options,
    pub input: &'a Path,
    /// Runs submitted jobs; `None` if the row has none.
    pub cluster: Option<&'a Cluster>,
    /// The file for standard error.
    pub stderr: &'a Path,
}

impl Race<'_> {
    /// Runs one rival, which writes to the new folder `output`.
    pub fn run(&self, rival: Rival, output: &Path) -> Result<Cost> {
        match rival {
            Rival::Limit => measure::run(self.limit(self.row.limit, output)?, self.stderr),
            Rival::Plain => {
                measure::run(self.limit(self.row.plain.as_slice(), output)?, self.stderr)
            }
            Rival::Run => measure::run(self.windrow("run", output)?, self.stderr),
            Rival::Submit => self.submit(output),
        }
    }

    /// Submits the job; the cost is the whole cluster's. The system counts its CPU time in
    /// hundredths of a second.
    fn submit(&self, output: &Path) -> Result<Cost> {
        let cluster = self.cluster.ok_or("there is no cluster")?;
        let mut command = self.windrow("submit", output)?;
        command.args(["--coordinator", &cluster.url]);
        let before = cluster.cpu()?;
        let (client, peak_rss_bytes) =
            cluster.peak_rss_bytes(|| measure::run(command, self.stderr))?;
        Ok(Cost {
            wall: client.wall,
            cpu: client.cpu + cluster.cpu()?.saturating_sub(before),
            peak_rss_bytes: client.peak_rss_bytes + peak_rss_bytes,
        })
    }

    /// This program as one of the hand-written programs.
    fn limit(&self, job: &[&str], output: &Path) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        let (name, arguments) = job.split_first().ok_or("no job is named")?;
        command.args(["limit", name]).arg(self.input).arg(output);
        command.args(arguments.iter().map(|argument| self.fill_in(argument)));
        Ok(command)
    }

    fn windrow(&self, how: &str, output: &Path) -> Result<Command> {
        let mut command = Command::new(WINDROW);
        if self.row.is_own_job {
            command = Command::new(std::env::current_exe()?);
            command.env(OWN_JOB_VARIABLE, "1");
        }
        command.arg(how).args(self.row.windrow.iter().map(|argument| self.fill_in(argument)));
        command.arg("--input").arg(self.input).arg("--output").arg(output);
        command.env_remove("WINDROW_COORDINATOR").env_remove("RUST_LOG");
        Ok(command)
    }

    fn fill_in(&self, argument: &str) -> String {
        argument
            .replace("{MIB}", &self.options.memory_mib().to_string())
            .replace("{LIMIT_MIB}", &self.options.limit_memory_mib().to_string())
    }
}
