//! Why an attempt failed: a type from the worker to the command line, never a string to parse.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::WorkerId;
use crate::system_error::explained;

/// Added to an error when a job's output cannot be written.
const SHARED_BY_GROUP: &str = "; where coordinator and workers are different users, both must be in the group of the folder that \
                               the output lies in, and that folder must have its setgid bit (chmod g+ws): see docs/security.md";

/// Where something happened, as precisely as known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordPlace {
    /// The input file, or empty.
    pub file: String,
    /// Bytes from the start of `file`.
    pub offset: Option<u64>,
    /// The key whose group was being reduced, escaped for display.
    pub key: Option<String>,
    /// `file:line:column` of the source line that panicked.
    pub source: Option<String>,
}

/// The cause of a failed attempt. [`FailureCause::class`] says how the scheduler answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
// Within Windrow, a new cause must also be added to `wire/failure.rs` of the worker and to
// `rpc/convert/failure.rs` and `explain.rs` of the coordinator.
#[non_exhaustive]
pub enum FailureCause {
    /// User code returned an error, or a record could not be read.
    UserError {
        /// The record or key.
        place: RecordPlace,
        /// The error's message.
        message: String,
    },
    /// User code panicked.
    UserPanic {
        /// The record or key, and the place of the panic.
        place: RecordPlace,
        /// The panic's message.
        message: String,
    },
    /// This attempt alone has found more bad records than the whole job may skip.
    BadRecords {
        /// The number of bad records, including the last, which was one too many.
        skipped: u64,
        /// Where the last bad record is.
        place: RecordPlace,
        /// The error or panic at the last bad record.
        message: String,
    },
    /// The attempt made no progress for too long.
    Timeout {
        /// How long it made no progress.
        after: Duration,
    },
    /// A map output could not be fetched: the map task's fault, not the reducer's.
    FetchFailed {
        /// Number of the map task.
        map_task: u32,
        /// Which attempt's output.
        map_attempt: u32,
        /// The worker that should have the output.
        worker: WorkerId,
        /// What went wrong.
        message: String,
    },
    /// A checksum did not match.
    Corrupt {
        /// The file.
        file: String,
        /// Where the block begins, in bytes from the start of the file.
        offset: u64,
        /// What did not match.
        message: String,
    },
    /// The process that ran user code died.
    ProcessDied {
        /// How it died.
        death: Death,
        /// Whether no other attempt ran in the process, so that nothing else can have killed it.
        alone: bool,
        /// The record or key that user code was at, if known. Boxed, to keep causes small.
        place: Box<RecordPlace>,
        /// The last lines that it printed, unescaped.
        output: String,
    },
    /// The process that ran user code was killed because it used too much memory.
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
        /// What the limit belongs to.
        limit: MemoryLimit,
        /// Whether no other attempt ran in the process, so that nothing else can have used the
        /// memory.
        alone: bool,
        /// The record or key that user code was at, if known.
        place: RecordPlace,
    },
    /// An input file has changed since the job was planned.
    InputChanged {
        /// The file.
        file: String,
        /// What differs.
        message: String,
    },
    /// The operating system refused an operation.
    Io {
        /// The file or folder.
        path: String,
        /// The system's error.
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
    /// The worker cannot run this job: the job is not linked into it, for example.
    Unsupported {
        /// What is missing.
        message: String,
    },
    /// A record, or a unit of a file, has more bytes than the job allows. It was not read, so it
    /// cannot be skipped.
    RecordTooLong {
        /// Where it begins.
        place: RecordPlace,
        /// The limit, and what to do.
        message: String,
    },
}

/// Which memory limit a process exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MemoryLimit {
    /// The limit of each process of a job (`--job-memory`).
    Process,
    /// The limit of the control group of the worker and its processes; the kernel killed the
    /// process.
    Group,
    /// The machine's memory; the kernel killed the process.
    Machine,
}

impl MemoryLimit {
    /// All limits.
    pub const ALL: [Self; 3] = [Self::Process, Self::Group, Self::Machine];
}

/// How a process came to its end. The system knows no third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// A signal, by its number on Linux.
    Signal(i32),
    /// It exited with this code before its work was done.
    Exit(i32),
}

/// SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV and SIGSYS, on Linux.
const OWN_SIGNALS: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];

/// What a cause means for the retry policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureClass {
    /// Counts against the task's `max_attempts`; another attempt may succeed.
    Attempt,
    /// Would fail on every worker: fails the job at once.
    Fatal,
    /// A fault of the infrastructure: does not count against the task.
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
            // Only this worker's view of the file may be stale.
            | Self::InputChanged { .. }
            | Self::Io { .. } => FailureClass::Attempt,
            Self::BadRecords { .. } | Self::Unsupported { .. } | Self::RecordTooLong { .. } => {
                FailureClass::Fatal
            }
            // If several attempts ran in the process, the one to blame is unknown.
            Self::ProcessDied { alone, .. } | Self::OutOfMemory { alone, .. } => match alone {
                true => FailureClass::Attempt,
                false => FailureClass::Infrastructure,
            },
            Self::FetchFailed { .. } | Self::Cancelled | Self::WorkerLost { .. } => {
                FailureClass::Infrastructure
            }
        }
    }

    /// Whether the process died of something that its code did at that moment. Any other signal may
    /// have come from another process, and a lack of memory may be due to all earlier records.
    pub fn is_own_doing(&self) -> bool {
        match self {
            Self::ProcessDied { death: Death::Exit(_), .. } => true,
            Self::ProcessDied { death: Death::Signal(number), .. } => OWN_SIGNALS.contains(number),
            _ => false,
        }
    }

    /// `Some(alone)` if the attempt's process died, of whatever cause; `alone` says that no other
    /// attempt ran in it.
    pub fn died_alone(&self) -> Option<bool> {
        match *self {
            Self::ProcessDied { alone, .. } | Self::OutOfMemory { alone, .. } => Some(alone),
            _ => None,
        }
    }

    /// An [`FailureCause::Io`] from the system's error, naming `path`.
    pub fn io(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        Self::Io {
            path: path.as_ref().display().to_string(),
            message: explained(path.as_ref(), error),
            disk_full: matches!(error.kind(), StorageFull | QuotaExceeded),
        }
    }

    /// An [`FailureCause::Io`] about a file in the job's output folder, which existed when the job
    /// began: says what may have happened to the folder since.
    pub fn output_io(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        match Self::io(path, error) {
            Self::Io { path, message, disk_full }
                if error.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Self::Io { path, message: message + SHARED_BY_GROUP, disk_full }
            }
            Self::Io { path, disk_full, .. } if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!(
                    "{error}: the output folder was removed while the job ran, or cannot be seen from this machine"
                );
                Self::Io { path, message, disk_full }
            }
            Self::Io { path, disk_full, .. }
                if error.kind() == std::io::ErrorKind::NotADirectory =>
            {
                let message =
                    format!("{error}: a file has replaced the output folder while the job ran");
                Self::Io { path, message, disk_full }
            }
            other => other,
        }
    }
}

impl fmt::Display for RecordPlace {
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

impl RecordPlace {
    /// Somewhere in this file.
    pub fn in_file(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    /// The same place with this offset.
    #[must_use]
    pub fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// The group of this key, escaped for display.
    pub fn of_key(key: String) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// The file, the offset, the key and the source. With [`from_fields`](Self::from_fields), what
    /// writes places down sees each new field.
    pub fn into_fields(self) -> (String, Option<u64>, Option<String>, Option<String>) {
        let Self { file, offset, key, source } = self;
        (file, offset, key, source)
    }

    /// A place of these fields, in the order of [`into_fields`](Self::into_fields).
    pub fn from_fields(
        (file, offset, key, source): (String, Option<u64>, Option<String>, Option<String>),
    ) -> Self {
        Self { file, offset, key, source }
    }

    /// Whether the place names a record or a key.
    pub fn names_record(&self) -> bool {
        !self.file.is_empty() && self.offset.is_some() || self.key.is_some()
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Signal(number) => match signal_name(number) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {number}"),
            },
            Self::Exit(code) => write!(f, "exited with code {code} before its work was done"),
        }
    }
}

/// The name of a signal on Linux that user code may die of.
fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

impl std::error::Error for FailureCause {}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserError { place, message } if *place == RecordPlace::default() => {
                f.write_str(message)
            }
            Self::UserError { place, message } | Self::RecordTooLong { place, message } => {
                write!(f, "{place}: {message}")
            }
            Self::UserPanic { place, message } if *place == RecordPlace::default() => {
                write!(f, "panic: {message}")
            }
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
            Self::ProcessDied { death, alone, place, output } => {
                write!(f, "the process that ran user code {death}")?;
                write_circumstances(f, *alone, place)?;
                let output = output.trim_end();
                if output.is_empty() {
                    return Ok(());
                }
                write!(f, "; the last that it printed: {output}")
            }
            Self::OutOfMemory { limit_bytes, limit, alone, place } => {
                match limit {
                    MemoryLimit::Process => write!(
                        f,
                        "the process that ran user code used more than {limit_bytes} bytes of memory"
                    )?,
                    MemoryLimit::Group => write!(
                        f,
                        "the kernel killed the process that ran user code, as the control group of its worker may not use \
                         more than {limit_bytes} bytes of memory"
                    )?,
                    MemoryLimit::Machine => write!(
                        f,
                        "the kernel killed the process that ran user code, as its machine has no more than {limit_bytes} \
                         bytes of memory"
                    )?,
                }
                write_circumstances(f, *alone, place)
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

/// Whether other attempts ran in a process that died, and where its user code was.
fn write_circumstances(
    f: &mut fmt::Formatter<'_>,
    alone: bool,
    place: &RecordPlace,
) -> fmt::Result {
    if *place != RecordPlace::default() {
        write!(f, " ({place})")?;
    }
    if !alone {
        f.write_str(", while other attempts ran in it")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_shows_its_signal_place_and_last_output() {
        let place = RecordPlace { file: "/in".into(), offset: Some(7), ..RecordPlace::default() };
        let died = |death, alone, output: &str| {
            let (place, output) = (Box::new(place.clone()), output.to_string());
            FailureCause::ProcessDied { death, alone, place, output }.to_string()
        };
        assert_eq!(
            died(Death::Signal(11), true, "oh no\n"),
            "the process that ran user code was killed by SIGSEGV (/in at byte 7); the last that it printed: oh no"
        );
        assert_eq!(
            died(Death::Exit(0), false, ""),
            "the process that ran user code exited with code 0 before its work was done (/in at byte 7), \
             while other attempts ran in it"
        );
        assert_eq!(Death::Signal(64).to_string(), "was killed by signal 64");
    }

    #[test]
    fn only_a_death_alone_is_blamed_on_the_task() {
        let (limit, place) = (MemoryLimit::Group, RecordPlace::default());
        let memory = |alone| FailureCause::OutOfMemory {
            limit_bytes: 1,
            limit,
            alone,
            place: place.clone(),
        };
        assert_eq!(memory(true).class(), FailureClass::Attempt);
        assert_eq!(memory(false).class(), FailureClass::Infrastructure);
        assert_eq!(memory(false).died_alone(), Some(false));
        assert_eq!(FailureCause::Cancelled.died_alone(), None);
    }

    #[test]
    fn a_place_names_a_record_by_file_and_offset_or_by_key() {
        let file = RecordPlace { file: "/in".into(), ..RecordPlace::default() };
        assert!(!file.names_record() && !RecordPlace::default().names_record());
        assert!(RecordPlace { offset: Some(0), ..file }.names_record());
        assert!(RecordPlace { key: Some(String::new()), ..RecordPlace::default() }.names_record());
    }
}
