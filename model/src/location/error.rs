//! Why a text is no location, or a location cannot be used.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::{Location, Scheme};
use crate::one_line::one_line;

/// A text that names no place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotALocation {
    /// It says nothing.
    Empty,
    /// No store has such a name.
    Nul {
        /// The text.
        text: Arc<str>,
    },
    /// It looks like a URL of a kind that is not known.
    UnknownScheme {
        /// The text.
        text: Arc<str>,
    },
    /// It names no bucket, container or server.
    NoAuthority {
        /// The text.
        text: Arc<str>,
        /// Of which kind it is.
        scheme: Scheme,
    },
    /// It names a file of another machine, or a relative one.
    NotHere {
        /// The text.
        text: Arc<str>,
    },
}

impl fmt::Display for NotALocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a path is empty"),
            Self::Nul { text } => write!(f, "'{}' contains a NUL", one_line(text)),
            Self::UnknownScheme { text } => {
                let known = Scheme::ALL.map(|scheme| format!("{scheme}://")).join(", ");
                let text = one_line(text);
                write!(
                    f,
                    "'{text}' is of no known scheme ({known}); if it is a path, write './{text}'"
                )
            }
            Self::NoAuthority { text, scheme } => {
                let what = match scheme {
                    Scheme::S3 | Scheme::Gs => "bucket",
                    Scheme::Az => "container",
                    _ => "server",
                };
                write!(f, "'{}' names no {what}: write {scheme}://{what}/...", one_line(text))
            }
            Self::NotHere { text } => write!(
                f,
                "'{}' is not a file URL of this machine: write file:/// and an absolute path",
                one_line(text)
            ),
        }
    }
}

impl Error for NotALocation {}

/// A location of a kind that this build has no store for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoStore {
    pub(super) location: Location,
}

impl NoStore {
    /// Which location.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

impl fmt::Display for NoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location } = self;
        let text = one_line(location.as_str());
        write!(
            f,
            "'{text}': this build cannot read or write {}://, but only paths and file:///; copy the data to where all workers \
             see it",
            location.scheme()
        )
    }
}

impl Error for NoStore {}
