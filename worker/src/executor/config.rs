//! An executor's configuration, and the errors with which it may refuse to start.

use std::io;
use std::path::PathBuf;

use windrow_jobs::explained;

use crate::shuffle::FetchTimeouts;
use crate::shuffle::transport::ShuffleTls;

/// Settings of an executor.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// Threads of each task; at least 1.
    pub threads: usize,
    /// Memory for all buffers together.
    pub memory_bytes: u64,
    /// Absolute folder for segments; created if it is missing. No other worker may use it.
    pub directory: PathBuf,
    /// A name of this machine that no other machine has; empty if it is not known.
    pub host: String,
    /// How connections to other workers are secured.
    pub tls: ShuffleTls,
    /// Timeouts for fetches from other workers.
    pub fetch: FetchTimeouts,
    /// Number of this process, unique among those that use the folder.
    pub serial: u32,
    /// Write each map output to its file at once: outputs in memory end with the process.
    pub outputs_on_disk: bool,
    /// Whether this is the only worker of its cluster, as in embedded mode. Then no output can be
    /// lost with another one, and partitions are freed as soon as the winning reducer has read
    /// them.
    pub is_only_worker: bool,
}

/// Why an executor could not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The folder is locked.
    #[error("{} is in use by another worker; give each worker a folder of its own (--dir)", .directory.display())]
    DirectoryInUse {
        /// The folder.
        directory: PathBuf,
    },
    /// The folder holds files that look like segments, but was never a worker's.
    #[error(
        "{} contains {entry}, which was not made by a worker; choose another folder (--dir) or remove it",
        .directory.display()
    )]
    ForeignDirectory {
        /// The folder.
        directory: PathBuf,
        /// The first unexpected file or folder.
        entry: String,
    },
    /// A system call failed.
    #[error("{}: {}", .path.display(), explained(path, error))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
}
