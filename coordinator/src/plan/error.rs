//! Why a job could not be planned.

use std::io;
use std::path::PathBuf;

use windrow_jobs::{NoStore, explained};

use super::NotAllowed;

/// Something about a job's input or numbers that is wrong before anything runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Inputs that are not those of the job.
    #[error("{0}")]
    Inputs(String),
    /// An input or the output is in no store that there is.
    #[error(transparent)]
    NoStore(#[from] NoStore),
    /// Nothing is there.
    #[error(
        "no input matches '{input}' (names that begin with '.' or '_' are skipped unless named)"
    )]
    NoMatch {
        /// As the user gave it.
        input: String,
    },
    /// Not a glob pattern.
    #[error("'{input}' is not a pattern: {message}")]
    BadPattern {
        /// As the user gave it.
        input: String,
        /// What is wrong.
        message: &'static str,
    },
    /// A file or folder that cannot be opened.
    #[error("cannot read {}: {}", path.display(), explained(path, error))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A device, socket or pipe.
    #[error("{} is not a regular file; copy what it holds into a file first", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// A name that cannot be shown or sent.
    #[error("the name of {} is not valid UTF-8; rename the file", path.display())]
    NotUtf8 {
        /// Which.
        path: PathBuf,
    },
    /// More files than the coordinator handles.
    #[error(
        "an input names more than {most} files, or files whose paths have more than {bytes_most} bytes together; join small files, or give fewer"
    )]
    TooManyFiles {
        /// As many as may be.
        most: usize,
        /// As many bytes as their paths may have.
        bytes_most: usize,
    },
    /// Whoever submits it does not wait any more.
    #[error("the submitter has gone")]
    GivenUp,
    /// A file lies where jobs may not read.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The job would read what it writes.
    #[error("the input {input} lies inside the output folder; write the output elsewhere")]
    InsideOutput {
        /// Which file.
        input: String,
    },
    /// A file that is one record, and larger than a record may be.
    #[error(
        "{path} has {bytes} bytes, and the job reads each file as one record, of at most {most} bytes: give a larger --max-record-size, which its workers need as memory"
    )]
    TooLarge {
        /// Which.
        path: String,
        /// Its size.
        bytes: u64,
        /// As large as it may be.
        most: u64,
    },
    /// More tasks than the coordinator handles.
    #[error(
        "a split size of {split_bytes} bytes makes at least {tasks} map tasks, more than {most}; give a larger one"
    )]
    TooManyTasks {
        /// Of the split size.
        split_bytes: u64,
        /// As many as there would be at least.
        tasks: u64,
        /// As many as may be.
        most: u64,
    },
    /// A number of reducers for a job without reduce stage.
    #[error("the job has no reduce stage, so it takes no number of reducers")]
    NoReduceStage,
    /// An ordered job comes without the ranges that its submitter should have sampled.
    #[error(
        "an ordered job needs the ranges of its partitions, and brings none; submit it with a current program"
    )]
    NoRanges,
    /// An ordered job has ranges for another number of partitions than it asks for.
    #[error("the job brings ranges for {partitions} reducers, and asks for another number")]
    OtherRanges {
        /// That they were made for.
        partitions: u32,
    },
}
