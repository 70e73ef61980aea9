//! Why an output folder cannot be used.

use std::io;
use std::path::PathBuf;

/// Something about the output that is wrong before anything runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// A result, or somebody's files, would be mixed with this job's.
    #[error("output {} exists and is not empty; remove it or choose another folder", path.display())]
    NotEmpty {
        /// The output folder.
        path: PathBuf,
    },
    /// A file is in the way.
    #[error("output {} exists and is not a folder; choose another name", path.display())]
    NotAFolder {
        /// The output.
        path: PathBuf,
    },
    /// Another job writes there.
    #[error("output {} is being written by another job; choose another folder, or cancel that job", path.display())]
    InUse {
        /// The output folder.
        path: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("cannot write to output {}: {error}", path.display())]
    NotWritable {
        /// The folder or file that failed.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}
