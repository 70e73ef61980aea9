//! Why an attempt failed, typed from the worker to the command line; never a string to be parsed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::WorkerId;

/// Where something happened, as precisely as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The input file, or empty.
    pub file: String,
    /// Bytes from the start of `file`.
    pub offset: Option<u64>,
    /// The key whose group was being reduced, escaped for display.
    pub key: Option<String>,
    /// `file:line:column` of the source line that panicked.
    pub source: Option<String>,
}

/// The cause of a failed attempt. Each class has its own right answer: see [`FailureCause::class`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureCause {
    /// User code returned an error, or a record could not be read.
    UserError {
        /// The record or key.
        place: Place,
        /// What the error says.
        message: String,
    },
    /// User code panicked.
    UserPanic {
        /// The record or key, and the place of the panic.
        place: Place,
        /// The panic's message.
        message: String,
    },
    /// The attempt alone has met more bad records than the job may skip.
    BadRecords {
        /// So many, of which the last was one too many.
        skipped: u64,
        /// The last one's.
        place: Place,
        /// What is wrong with it.
        message: String,
    },
    /// No progress for too long.
    Timeout {
        /// How long it was silent.
        after: Duration,
    },
    /// A map output could not be fetched; the map is to blame, not the reducer.
    FetchFailed {
        /// Number of the map task.
        map_task: u32,
        /// Which attempt's output.
        map_attempt: u32,
        /// The worker that should have it.
        worker: WorkerId,
        /// What went wrong.
        message: String,
    },
    /// A checksum did not match.
    Corrupt {
        /// The file.
        file: String,
        /// Of the block, bytes from the start.
        offset: u64,
        /// What did not match.
        message: String,
    },
    /// An input file is not what it was when the job was planned.
    InputChanged {
        /// The file.
        file: String,
        /// What differs.
        message: String,
    },
    /// The operating system refused something.
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        message: String,
        /// Whether the disk (or quota) was full.
        disk_full: bool,
    },
    /// The attempt was told to stop.
    Cancelled,
    /// The worker died, left, or was silent for longer than its lease.
    WorkerLost {
        /// Which worker.
        worker: WorkerId,
        /// How it was noticed.
        reason: String,
    },
    /// The worker cannot run this job, such as one that is not linked into it.
    Unsupported {
        /// What is missing.
        message: String,
    },
}

/// What a cause means for the retry policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Counts against the task's cap of attempts; another attempt may help.
    Attempt,
    /// The same on every worker: fails the job at once.
    Fatal,
    /// The infrastructure's fault: does not count against the task.
    Infrastructure,
}

impl FailureCause {
    /// How the scheduler answers this cause.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::UserError { .. }
            | Self::UserPanic { .. }
            | Self::Timeout { .. }
            | Self::Corrupt { .. }
            | Self::Io { .. } => FailureClass::Attempt,
            Self::BadRecords { .. } | Self::InputChanged { .. } | Self::Unsupported { .. } => {
                FailureClass::Fatal
            }
            Self::FetchFailed { .. } | Self::Cancelled | Self::WorkerLost { .. } => {
                FailureClass::Infrastructure
            }
        }
    }

    /// An [`FailureCause::Io`] from the system's error, naming `path`.
    pub fn io(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        Self::Io {
            path: path.as_ref().display().to_string(),
            message: error.to_string(),
            disk_full: matches!(error.kind(), StorageFull | QuotaExceeded),
        }
    }

    /// Likewise of something in the folder that the job was given to write to, which was there when it began.
    pub fn output_io(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        match Self::io(path, error) {
            Self::Io { path, disk_full, .. } if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!(
                    "{error}: the output folder was removed while the job ran, or cannot be seen from this machine"
                );
                Self::Io { path, message, disk_full }
            }
            other => other,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if let Some(offset) = self.offset {
                write!(f, " at byte {offset}")?;
            }
            separator = ", ";
        }
        if let Some(key) = &self.key {
            write!(f, "{separator}key {key}")?;
            separator = ", ";
        }
        if let Some(source) = &self.source {
            write!(f, "{separator}in {source}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserError { place, message } if *place == Place::default() => {
                f.write_str(message)
            }
            Self::UserError { place, message } => write!(f, "{place}: {message}"),
            Self::UserPanic { place, message } => write!(f, "panic: {message} ({place})"),
            Self::BadRecords { skipped, place, message } => {
                write!(f, "{skipped} bad records, the last one in {place}: {message}")
            }
            Self::Timeout { after } => {
                write!(f, "no progress for {:.1} s (--task-timeout)", after.as_secs_f64())
            }
            Self::FetchFailed { map_task, map_attempt, worker, message } => write!(
                f,
                "the output of map task {map_task} (attempt {map_attempt}) could not be fetched from \
                 {worker}: {message}"
            ),
            Self::Corrupt { file, offset, message } => {
                write!(f, "{file} is corrupt at byte {offset}: {message}")
            }
            Self::InputChanged { file, message } => {
                write!(f, "{file} changed while the job ran: {message}")
            }
            Self::Io { path, message, .. } => write!(f, "{path}: {message}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::WorkerLost { worker, reason } => write!(f, "{worker} was lost: {reason}"),
            Self::Unsupported { message } => f.write_str(message),
        }
    }
}
