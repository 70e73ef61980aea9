//! The exit statuses that scripts rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Success,
    /// The job failed or was cancelled, or the command could not do what was asked.
    Failure,
    /// The command line was wrong.
    Usage,
    /// The coordinator was replaced by another one, which goes on with its jobs.
    Replaced,
    /// The job had ended before it could be cancelled.
    TooLate,
    /// The cluster knows no such job.
    NoSuchJob,
    /// No coordinator answers: what becomes of the job is not known.
    Unreachable,
    /// A part of a role has panicked.
    Bug,
    /// A signal stopped it.
    Interrupted,
}

impl Exit {
    /// The number that the system is told.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Replaced => 3,
            Self::TooLate => 4,
            Self::NoSuchJob => 5,
            Self::Unreachable => 6,
            // An internal software error, as sysexits.h has it.
            Self::Bug => 70,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
