//! Why a job could not be planned.

use std::io;
use std::path::PathBuf;

use windrow_jobs::{NoStore, explained};

use super::NotAllowed;

/// An error in a job's input or numbers, found before anything runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The inputs do not match those of the job.
    #[error("{0}")]
    Inputs(String),
    /// An input or the output needs a store that is not supported.
    #[error(transparent)]
    NoStore(#[from] NoStore),
    /// No file matches.
    #[error(
        "no input matches '{input}' (names that begin with '.' or '_' are skipped unless named){hint}"
    )]
    NoMatch {
        /// The input, as given.
        input: String,
        /// A likely mistake, after a separator; may be empty.
        hint: String,
    },
    /// Not a glob pattern.
    #[error("'{input}' is not a pattern: {message}")]
    BadPattern {
        /// The input, as given.
        input: String,
        /// The error.
        message: &'static str,
    },
    /// A file or folder that cannot be opened.
    #[error("cannot read {}: {}", path.display(), explained(path, error))]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A link that leads nowhere.
    #[error(
        "{} is a link to {}, which does not exist; remove the link, or name the files to read",
        path.display(), target.display()
    )]
    DanglingLink {
        /// Its path.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A device, socket or pipe.
    #[error("{} is not a regular file; copy what it holds into a file first", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// A name that cannot be shown or sent.
    #[error("the name of {} is not valid UTF-8; rename the file", path.display())]
    NotUtf8 {
        /// Its path.
        path: PathBuf,
    },
    /// More files than the coordinator handles.
    #[error(
        "an input names more than {most} files, or files whose paths have more than {bytes_most} bytes together; join small files, or give fewer"
    )]
    TooManyFiles {
        /// The limit of files.
        most: usize,
        /// The limit of the paths' bytes.
        bytes_most: usize,
    },
    /// The submitter has disconnected.
    #[error("the submitter has disconnected")]
    GivenUp,
    /// A file lies where jobs may not read.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The job would read what it writes.
    #[error("the input {input} lies inside the output folder; write the output elsewhere")]
    InsideOutput {
        /// The input file.
        input: String,
    },
    /// A file that is one record, and larger than a record may be.
    #[error(
        "{path} has {bytes} bytes, but the job reads each file as one record, of at most {most} bytes: give a larger --max-record-size, which its workers need as memory"
    )]
    TooLarge {
        /// Its path.
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
        /// The split size.
        split_bytes: u64,
        /// The least number of map tasks.
        tasks: u64,
        /// The limit.
        most: u64,
    },
    /// A number of reducers for a job without reduce stage.
    #[error("the job has no reduce stage, so it takes no number of reducers")]
    NoReduceStage,
    /// The ranges are missing that the submitter of an ordered job should have sampled.
    #[error(
        "an ordered job needs the ranges of its partitions, but has none; submit it with a current program"
    )]
    NoRanges,
    /// The ranges are for another number of partitions than the job asks for.
    #[error("the job has ranges for {partitions} reducers, but asks for another number")]
    OtherRanges {
        /// The number that the ranges were made for.
        partitions: u32,
    },
}
