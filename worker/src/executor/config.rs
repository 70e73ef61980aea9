//! What an executor is given, and why it may refuse to start.

use std::io;
use std::path::PathBuf;

use windrow_jobs::explained;

use crate::shuffle::FetchTimeouts;
use crate::shuffle::transport::ShuffleTls;

/// What an executor may use.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// Threads of each task; at least 1.
    pub threads: usize,
    /// Memory for all buffers together.
    pub memory_bytes: u64,
    /// Absolute folder for segments; created where missing. No other worker may use it.
    pub directory: PathBuf,
    /// This machine, by a name that no other machine has; empty if it is not known.
    pub host: String,
    /// How connections to other workers are secured.
    pub tls: ShuffleTls,
    /// How long to wait for other workers.
    pub fetch: FetchTimeouts,
    /// Of this process: no other one that works in the folder has the same number.
    pub serial: u32,
    /// Write each map output to its file at once: what is in memory ends with the process.
    pub outputs_on_disk: bool,
    /// Whether there never is another worker, as in embedded mode. Then no output can be lost with
    /// one, and what a winning reducer has read goes at once.
    pub is_alone: bool,
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
    /// The folder holds what looks like segments but was never a worker's.
    #[error(
        "{} contains {entry}, which no worker has made; choose another folder (--dir) or remove it",
        .directory.display()
    )]
    ForeignDirectory {
        /// The folder.
        directory: PathBuf,
        /// The first file or folder that is in the way.
        entry: String,
    },
    /// The operating system refused something.
    #[error("{}: {}", .path.display(), explained(path, error))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}
