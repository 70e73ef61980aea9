//! What a worker is started with, and why it may end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tonic::Status;
use windrow_jobs::Isolation;
use windrow_security::{LocalUsers, Tls};

use super::machine;
use crate::executor::{ChildProgram, Confinement, ExecutorError, JobLimits};
use crate::orphans::Orphans;
use crate::shuffle::FetchTimeouts;

/// Settings of a worker. `None` lets it choose.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// For people.
    pub name: String,
    /// Folder for intermediate data, of this worker alone; created where missing.
    pub directory: PathBuf,
    /// Threads for user code; all cores by default.
    pub threads: Option<u32>,
    /// Memory for tasks; half of what the machine (or the control group) has by default.
    pub memory_bytes: Option<u64>,
    /// Where other workers fetch from it; `None` opens no socket, for a worker that is alone.
    pub listen: Option<SocketAddr>,
    /// Its credentials as a member of a secured cluster.
    pub tls: Option<Tls>,
    /// Users of this machine that may be at the other end where there are no credentials.
    pub local_users: LocalUsers,
    /// What others are told to connect to, `host:port`, where that is not the address itself, as
    /// behind a translation of addresses.
    pub advertise: Option<String>,
    /// How long another worker may take to send.
    pub fetch: FetchTimeouts,
    /// This machine: workers that say the same read each other's files.
    pub host: String,
    /// What to start for each job, so that user code cannot harm the worker; `None` runs it in the
    /// worker itself.
    pub child: Option<ChildProgram>,
    /// Most bytes of programs and side files that are kept for later jobs.
    pub program_cache_bytes: u64,
    /// What keeps the processes of jobs from the rest of the machine.
    pub confinement: Confinement,
    /// What each process of a job may use.
    pub job_limits: JobLimits,
    /// Where what jobs leave behind comes to; `None` where this process takes no orphans.
    pub orphans: Option<Arc<Orphans>>,
}

/// Programs and side files that are kept unless told otherwise.
const PROGRAM_CACHE_BYTES: u64 = 4 << 30;

impl WorkerConfig {
    /// A worker of a cluster, which serves its data on `listen`; port 0 takes any free one. Jobs
    /// run in itself.
    pub fn tcp(directory: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        let name = format!("{}-{}", machine::host_name(), std::process::id());
        Self { listen: Some(listen), ..Self::new(name, directory.into()) }
    }

    /// The only worker of a cluster inside one process.
    pub fn embedded(directory: impl Into<PathBuf>) -> Self {
        Self::new("embedded".to_string(), directory.into())
    }

    fn new(name: String, directory: PathBuf) -> Self {
        Self {
            name,
            directory,
            threads: None,
            memory_bytes: None,
            listen: None,
            tls: None,
            local_users: LocalUsers::default(),
            advertise: None,
            fetch: FetchTimeouts::default(),
            host: machine::host_id(),
            child: None,
            program_cache_bytes: PROGRAM_CACHE_BYTES,
            confinement: Confinement::default(),
            job_limits: JobLimits::default(),
            orphans: None,
        }
    }
}

/// Why a worker could not start, or was sent away for good.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// Its socket cannot be opened.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// Peers cannot be told where to fetch from.
    #[error(
        "other workers cannot connect to {address}; listen on an address of one of this machine's interfaces, or name one \
         with --advertise"
    )]
    UnspecifiedAddress {
        /// As configured.
        address: SocketAddr,
    },
    /// Jobs are not isolated as they are to be.
    #[error(
        "jobs would be isolated here by level '{level}', and --require-isolation asks for '{required}': {}",
        missing.join("; ")
    )]
    Isolation {
        /// What there is.
        level: Isolation,
        /// What was asked for.
        required: Isolation,
        /// Why it is not more.
        missing: Vec<String>,
    },
    /// Jobs cannot have users of their own.
    #[error("jobs cannot have users of their own (--job-users): {0}")]
    JobUsers(String),
    /// The coordinator does not want it, and will not if it asks again.
    #[error("the coordinator {coordinator} refuses this worker: {}", status.message())]
    Refused {
        /// Which.
        coordinator: String,
        /// Its answer.
        status: Status,
    },
}
