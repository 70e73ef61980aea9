//! Why a command could not do what was asked.

use std::io::ErrorKind;
use std::path::PathBuf;

use windrow_jobs::explained;
use windrow_security::SecurityError;

use crate::cli::exit::Exit;
use crate::client::ClientError;

/// An error for the user, with the exit status that it leads to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Credentials, tokens, TLS.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The command line was wrong in a way that its parser could not see.
    #[error("{0}")]
    Usage(String),
    /// A coordinator refused or was not there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The cluster does not know the job.
    #[error("{0}")]
    NoSuchJob(String),
    /// No coordinator answers, and this is what became of the question.
    #[error("{0}")]
    Unreachable(String),
    /// A file, folder or socket.
    #[error("{}: {}", path.display(), explained(path, error))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Something else that has said what is wrong.
    #[error("{0}")]
    Other(String),
}

impl CliError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }

    /// The same of a path that the user has given, by a flag or a variable.
    pub(crate) fn given_by(self, given: &str) -> Self {
        match self {
            Self::Io { path, error } => {
                let why = match error.kind() {
                    // The system's "File exists" is said where a folder was to be made.
                    ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                        format!("it is not a folder ({error})")
                    }
                    _ => explained(&path, &error),
                };
                Self::Other(format!("{given} {}: {why}", path.display()))
            }
            other => other,
        }
    }

    /// The status to end with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Client(ClientError::Url(_)) => Exit::Usage,
            Self::Client(ClientError::Refused { usage: true, .. }) => Exit::Usage,
            Self::Client(ClientError::Unreachable { .. })
            | Self::Security(SecurityError::Unreachable(_))
            | Self::Unreachable(_) => Exit::Unreachable,
            Self::NoSuchJob(_) => Exit::NoSuchJob,
            _ => Exit::Failure,
        }
    }
}
