//! A worker's configuration, and the errors with which it may end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tonic::Status;
use windrow_jobs::Isolation;
use windrow_security::{LocalUsers, Tls};

use super::machine;
use crate::executor::{ChildCommand, Confinement, ExecutorError, JobLimits};
use crate::orphans::Orphans;
use crate::shuffle::FetchTimeouts;

/// Settings of a worker. `None` leaves the choice to the worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The worker's name, for display.
    pub name: String,
    /// Folder for intermediate data, used by this worker only; created if it is missing.
    pub directory: PathBuf,
    /// Threads for user code; all cores by default.
    pub threads: Option<u32>,
    /// Memory for tasks; by default, half of the memory of the machine (or of the control group).
    pub memory_bytes: Option<u64>,
    /// Where other workers fetch from it; `None` opens no socket, for the only worker of a cluster.
    pub listen: Option<SocketAddr>,
    /// Its certificate as a member of a secured cluster.
    pub tls: Option<Tls>,
    /// Users of this machine who may connect where there are no certificates.
    pub local_users: LocalUsers,
    /// The address that others connect to, `host:port`, if it differs from `listen`, as behind
    /// network address translation.
    pub advertise: Option<String>,
    /// How long other workers may take to send.
    pub fetch: FetchTimeouts,
    /// This machine: workers with the same value read each other's files.
    pub host: String,
    /// The command that is started for each job, so that user code cannot harm the worker; `None`
    /// runs jobs in the worker itself.
    pub child: Option<ChildCommand>,
    /// Most bytes of programs and side files that are cached for later jobs.
    pub program_cache_bytes: u64,
    /// How the processes of jobs are kept from the rest of the machine.
    pub confinement: Confinement,
    /// Resource limits of each process of a job.
    pub job_limits: JobLimits,
    /// Reaps processes that jobs leave behind; `None` where this process adopts no orphans.
    pub orphans: Option<Arc<Orphans>>,
}

/// Default size of the cache of programs and side files.
const PROGRAM_CACHE_BYTES: u64 = 4 << 30;

impl WorkerConfig {
    /// A worker of a cluster, which serves its data on `listen`; port 0 takes any free one. Jobs
    /// run in the worker itself.
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

/// Why a worker could not start, or was refused for good.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The worker's folder cannot be used.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The worker's socket cannot be opened.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
    /// There is no address that peers could fetch from.
    #[error(
        "other workers cannot connect to {address}; listen on an address of one of this machine's interfaces, or name one \
         with --advertise"
    )]
    UnspecifiedAddress {
        /// The configured address.
        address: SocketAddr,
    },
    /// Jobs are isolated less than the configuration requires.
    #[error(
        "jobs would be isolated here by level '{level}', and --require-isolation asks for '{required}': {}",
        missing.join("; ")
    )]
    Isolation {
        /// The level that is possible here.
        level: Isolation,
        /// The level that is required.
        required: Isolation,
        /// Why a higher level is not possible.
        missing: Vec<String>,
    },
    /// Jobs cannot have users of their own.
    #[error("jobs cannot have users of their own (--job-users): {0}")]
    JobUsers(String),
    /// The coordinator refuses the worker, and will refuse it again.
    #[error("the coordinator {coordinator} refuses this worker: {}", status.message())]
    Refused {
        /// The coordinator's address.
        coordinator: String,
        /// The coordinator's answer.
        status: Status,
    },
}
