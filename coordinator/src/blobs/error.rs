//! Why a blob cannot be had or kept.

use std::io;
use std::path::{Path, PathBuf};

use windrow_jobs::{Digest, explained};

/// Something about a blob that does not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// It is larger than one may be.
    #[error(
        "it has {bytes} bytes, and {most} is the most here (see coordinator --program-bytes-max)"
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// The folder is full of what is needed.
    #[error(
        "programs of running jobs and recent ones leave no room for {bytes} more bytes of at most {most}; try again later"
    )]
    NoRoom {
        /// As many as it needs.
        bytes: u64,
        /// The bound of all together.
        most: u64,
    },
    /// One submitter would hold too much.
    #[error(
        "your programs and side files would take {bytes} bytes, with those of your jobs that have not ended, and {most} is the \
         most for one submitter now (half of what others leave; see coordinator --program-bytes-max); wait for jobs or uploads of yours to end, \
         or cancel some"
    )]
    NoShare {
        /// As many as they would take.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// The bytes are not those that the digest is of.
    #[error("what was sent is not what its digest says; send it again")]
    WrongDigest,
    /// A piece leaves some out.
    #[error("a piece begins at byte {offset}, and only {received} are there")]
    Gap {
        /// Where it begins.
        offset: u64,
        /// What is there.
        received: u64,
    },
    /// More than was said.
    #[error("it has more bytes than was said")]
    TooLong,
    /// The upload has ended before its end.
    #[error("the upload broke off after {received} of {bytes} bytes")]
    Incomplete {
        /// What is there.
        received: u64,
        /// All of it.
        bytes: u64,
    },
    /// It is not here.
    #[error("{digest} is not here; submit the job again")]
    Missing {
        /// Which.
        digest: Digest,
    },
    /// The system refused something.
    #[error("{}: {}", path.display(), explained(path, error))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl BlobError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |error| Self::Io { path: path.to_path_buf(), error }
    }
}
