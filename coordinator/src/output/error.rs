//! Why an output folder cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use windrow_jobs::{JobId, Location, explained};

use super::lock::LOCK;
use super::replace::REPLACED;
use super::{Owner, TEMPORARY};

/// Something about the output that is wrong before anything runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// A result, or somebody's files, would be mixed with this job's.
    #[error("output {} exists and is not empty; remove it, choose another folder, or have a job's result replaced with --overwrite", path.display())]
    NotEmpty {
        /// The output folder.
        path: PathBuf,
    },
    /// What is there was not written by a job that has ended, so it is not replaced.
    #[error("output {} is not empty, and has no _SUCCESS: --overwrite replaces only what a job has written; move what is there elsewhere, or choose another folder", path.display())]
    NotAnOutput {
        /// The output folder.
        path: PathBuf,
    },
    /// A job that replaced what was there has died, and what it moved aside cannot be put back.
    #[error(
        "output {} is not used: in {} lies what a job that was killed had moved aside to replace it, perhaps the only copy; \
         it was not put back: {why}; move what is in it to where you want to keep it, remove {} when nothing is left there, and submit again",
        path.display(), aside.join(REPLACED).display(), aside.display()
    )]
    Aside {
        /// The output folder.
        path: PathBuf,
        /// The folder of the job's publication.
        aside: PathBuf,
        /// Why it stays there.
        why: String,
    },
    /// Something lies beside the result that is to be replaced.
    #[error(
        "output {} cannot be replaced: {} is no part of a result; move it elsewhere, or choose another folder",
        path.display(), foreign.display()
    )]
    Foreign {
        /// The output folder.
        path: PathBuf,
        /// What no job has written.
        foreign: PathBuf,
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
    /// A job of this coordinator has the folder, or waits to have it again.
    #[error(
        "output {output} belongs to {job}, which is not over; choose another folder, or cancel that job"
    )]
    OfJob {
        /// The output folder.
        output: Location,
        /// Whose it is.
        job: JobId,
    },
    /// A job writes there whose coordinator does not run now.
    #[error(
        "output {} belongs to a job ('{}') that waits for its coordinator: start 'windrow coordinator --state {}' again, or, \
         if that is gone for good, remove {}, and nothing else: what is to be put back lies beside it",
        path.display(), owner.job, owner.state.display(), path.join(TEMPORARY).join(LOCK).display()
    )]
    Owned {
        /// The output folder.
        path: PathBuf,
        /// Whose it is.
        owner: Box<Owner>,
    },
    /// What a job has written is not there any more.
    #[error("{} is gone: the output folder was removed or replaced while the coordinator was away", path.display())]
    Gone {
        /// The folder in which its attempts have written.
        path: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("cannot write to output {}: {message}", path.display())]
    NotWritable {
        /// The folder or file that failed.
        path: PathBuf,
        /// What the system said, and what it left out, as things were then.
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
