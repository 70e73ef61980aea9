//! The exit statuses that scripts rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Success,
    /// The job failed, or the command could not do what was asked.
    Failure,
    /// The command line was wrong.
    Usage,
    /// The coordinator was replaced by another one, which goes on with its jobs.
    Replaced,
    /// A signal stopped it.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Replaced => 3,
            Exit::Interrupted => 130,
        })
    }
}
