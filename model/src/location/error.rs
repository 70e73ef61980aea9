//! Errors for texts that are no location, and for locations without a store.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::{Location, Scheme};
use crate::one_line::one_line;

/// The text is no location.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotALocation {
    /// The text is empty.
    Empty,
    /// The text contains a NUL, which no name may.
    Nul {
        /// The text.
        text: Arc<str>,
    },
    /// A URL with an unknown scheme.
    UnknownScheme {
        /// The text.
        text: Arc<str>,
    },
    /// A URL without a bucket, container or server.
    NoAuthority {
        /// The text.
        text: Arc<str>,
        /// The scheme.
        scheme: Scheme,
    },
    /// A file URL with another machine or a relative path.
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
                let stores = Scheme::ALL.into_iter().filter(|scheme| *scheme != Scheme::File);
                let stores: Vec<_> = stores.map(|scheme| format!("{scheme}://")).collect();
                let text = one_line(text);
                write!(
                    f,
                    "'{text}' has an unknown scheme: this build reads and writes paths and file:///, and knows {} only by \
                     name; if it is a path, write './{text}'",
                    stores.join(", ")
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

/// This build has no store for the location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoStore {
    pub(super) location: Location,
}

impl NoStore {
    /// The location.
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
