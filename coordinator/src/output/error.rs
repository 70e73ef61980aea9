//! Why an output folder cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use windrow_jobs::{JobId, Location, explained};

use super::lock::LOCK;
use super::replace::REPLACED;
use super::{Owner, TEMPORARY};

/// Why an output is refused before the job runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// A result, or foreign files, would be mixed with this job's.
    #[error("output {} exists and is not empty; remove it, choose another folder, or replace a job's result with --overwrite", path.display())]
    NotEmpty {
        /// The output folder.
        path: PathBuf,
    },
    /// The folder's content was not written by a job that has ended, so it is not replaced.
    #[error("output {} is not empty, and {why}: --overwrite replaces only the result of a job; move the files elsewhere, or choose another folder", path.display())]
    NotAnOutput {
        /// The output folder.
        path: PathBuf,
        /// How this is known.
        why: &'static str,
    },
    /// A job that was replacing the output has died, and the old output, which it had moved aside,
    /// cannot be put back.
    #[error(
        "output {} cannot be used: {} has the old output, perhaps the only copy, which a killed job had moved aside to replace it; \
         it was not put back: {why}; move what is in it to where you want to keep it, remove {} when nothing is left there, and submit again",
        path.display(), aside.join(REPLACED).display(), aside.display()
    )]
    Aside {
        /// The output folder.
        path: PathBuf,
        /// The folder of the job's publication.
        aside: PathBuf,
        /// Why it was not put back.
        why: String,
    },
    /// A foreign file lies beside the result that would be replaced.
    #[error(
        "output {} cannot be replaced: {} is not part of a result; move it elsewhere, or choose another folder",
        path.display(), foreign.display()
    )]
    Foreign {
        /// The output folder.
        path: PathBuf,
        /// The foreign file or folder.
        foreign: PathBuf,
    },
    /// The output, or a folder above it, is a file, a device or the like.
    #[error("cannot write to output {}: {} exists and is not a folder; choose another name", output.display(), path.display())]
    NotAFolder {
        /// The output.
        output: PathBuf,
        /// What is not a folder.
        path: PathBuf,
    },
    /// Another job writes there.
    #[error("output {} is being written by another job; choose another folder, or cancel that job", path.display())]
    InUse {
        /// The output folder.
        path: PathBuf,
    },
    /// A job of this coordinator holds the folder, or waits to take it over.
    #[error(
        "output {output} belongs to {job}, which is not over; choose another folder, or cancel that job"
    )]
    OfJob {
        /// The output folder.
        output: Location,
        /// The job to which it belongs.
        job: JobId,
    },
    /// The folder belongs to a job whose coordinator is not running.
    #[error(
        "output {} belongs to a job ('{}') that waits for its coordinator: start 'windrow coordinator --state {}' again, or, \
         if that is gone for good, remove {}, and nothing else: an old output may lie beside it",
        path.display(), owner.job, owner.state.display(), path.join(TEMPORARY).join(LOCK).display()
    )]
    Owned {
        /// The output folder.
        path: PathBuf,
        /// The job to which it belongs.
        owner: Box<Owner>,
    },
    /// The parts of the job are gone.
    #[error("{} is gone: the output folder was removed or replaced while the coordinator was away", path.display())]
    Gone {
        /// The staging folder.
        path: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("cannot write to output {}: {message}", path.display())]
    NotWritable {
        /// The folder or file that failed.
        path: PathBuf,
        /// The system's error, with details that it left out.
        message: String,
    },
}

impl OutputError {
    pub(super) fn not_writable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::NotWritable {
            path: path.to_path_buf(),
            message: explained(path, &error),
        }
    }
}
