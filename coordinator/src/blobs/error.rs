//! Why a blob cannot be stored or opened.

use std::io;
use std::path::{Path, PathBuf};

use windrow_jobs::{Digest, explained};

/// Why a blob cannot be stored or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// The blob is too large.
    #[error("it has {bytes} bytes; the limit is {most} (see coordinator --program-bytes-max)")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// The folder is full of blobs that are needed.
    #[error(
        "no space for {bytes} more bytes: programs of running and recent jobs take it, of {most} bytes in all; try again later"
    )]
    NoRoom {
        /// The bytes that the blob needs.
        bytes: u64,
        /// The bound of all blobs together.
        most: u64,
    },
    /// The submitter would exceed their share.
    #[error(
        "your programs and side files, with those of your unfinished jobs, would take {bytes} bytes; {most} is the \
         most for one submitter now (half of what others leave; see coordinator --program-bytes-max); wait for jobs or uploads of yours to end, \
         or cancel some"
    )]
    NoShare {
        /// The bytes that they would take.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// The bytes do not match the digest.
    #[error("the received bytes do not match their digest; send them again")]
    WrongDigest,
    /// A piece begins behind the received bytes.
    #[error("a piece begins at byte {offset}, but only {received} bytes were received")]
    Gap {
        /// The offset of the piece.
        offset: u64,
        /// The received bytes.
        received: u64,
    },
    /// The blob has more bytes than declared.
    #[error("it has more bytes than declared")]
    TooLong,
    /// The upload ended early.
    #[error("the upload broke off after {received} of {bytes} bytes")]
    Incomplete {
        /// The received bytes.
        received: u64,
        /// The blob's size.
        bytes: u64,
    },
    /// The blob is missing.
    #[error("{digest} is missing; submit the job again")]
    Missing {
        /// Its digest.
        digest: Digest,
    },
    /// A system error.
    #[error("{}: {}", path.display(), explained(path, error))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

impl BlobError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |error| Self::Io { path: path.to_path_buf(), error }
    }
}
