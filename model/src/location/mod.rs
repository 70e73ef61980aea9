//! Locations of data: a path of this machine, or the URL of an object in a store.
//!
//! ```text
//!  data/in.txt            a path, as it is: what has ':' in it is still one
//!  file:///data/in.txt    the same for an absolute path
//!  s3://bucket/a//b%20c   a bucket, and a key in it
//! ```
//!
//! A location is its text, which is never decoded, joined or normalized: the key of an object may
//! be any text, and `a//b`, `a/../b` and `a%20b` are the keys of three objects.

mod error;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use error::{NoStore, NotALocation};

/// Separates the scheme of a URL from the rest.
const SEPARATOR: &str = "://";

/// The location of a file or an object. Displayed as it was written; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    text: Arc<str>,
    scheme: Scheme,
    /// Where the text after the scheme begins; 0 for a path.
    start: u8,
}

/// The kind of store that a location is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Files that every machine of the cluster sees under the same path.
    File,
    /// Amazon S3, and stores that speak its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// The Hadoop file system.
    Hdfs,
    /// A web server.
    Http,
    /// A web server, over TLS.
    Https,
}

impl Scheme {
    /// All schemes that are recognised, with or without a store.
    pub const ALL: [Self; 7] =
        [Self::File, Self::S3, Self::Gs, Self::Az, Self::Hdfs, Self::Http, Self::Https];

    /// The scheme's name in a URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::Hdfs => "hdfs",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Location {
    /// Parses a path or a URL.
    ///
    /// # Errors
    /// When `text` is empty, contains a NUL, or begins like a URL and is not a valid one.
    pub fn parse(text: &str) -> Result<Self, NotALocation> {
        Self::new(text.into())
    }

    /// The location of a local file or folder. `None` if the path is empty, not UTF-8, or contains
    /// a NUL.
    pub fn of_path(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        // A relative path may look like a URL.
        let text = match scheme_of(text) {
            None => text.into(),
            Some(_) => format!("./{text}").into(),
        };
        Self::new(text).ok()
    }

    fn new(text: Arc<str>) -> Result<Self, NotALocation> {
        if text.is_empty() {
            return Err(NotALocation::Empty);
        }
        if text.contains('\0') {
            return Err(NotALocation::Nul { text });
        }
        let Some(name) = scheme_of(&text) else {
            return Ok(Self { text, scheme: Scheme::File, start: 0 });
        };
        let rest = &text[name.len() + SEPARATOR.len()..];
        let scheme = match Scheme::named(name) {
            Some(scheme) => scheme,
            None => return Err(NotALocation::UnknownScheme { text }),
        };
        let path = match scheme {
            Scheme::File => rest.strip_prefix("localhost").unwrap_or(rest),
            _ => rest,
        };
        match (scheme, path.starts_with('/')) {
            (Scheme::File, false) => return Err(NotALocation::NotHere { text }),
            (Scheme::File, true) => {}
            (_, named_nothing) if named_nothing || path.is_empty() => {
                return Err(NotALocation::NoAuthority { text, scheme });
            }
            _ => {}
        }
        // Known schemes are short enough for a `u8`.
        let start = (text.len() - path.len()) as u8;
        Ok(Self { text, scheme, start })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was written as a URL.
    pub fn is_url(&self) -> bool {
        self.start > 0
    }

    /// The scheme, which says which store it is in.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The path of a location in the file system.
    ///
    /// # Errors
    /// When it is in another store, which this build does not have.
    pub fn to_local(&self) -> Result<&Path, NoStore> {
        match self.scheme {
            Scheme::File => Ok(Path::new(self.rest())),
            _ => Err(NoStore { location: self.clone() }),
        }
    }

    /// Whether it is independent of the working directory: everything but a relative path is.
    pub fn is_absolute(&self) -> bool {
        self.scheme != Scheme::File || self.rest().starts_with('/')
    }

    /// The bucket, container or server; empty for a path.
    pub fn authority(&self) -> &str {
        match self.scheme {
            Scheme::File => "",
            _ => self.rest().split_once('/').map_or(self.rest(), |(authority, _)| authority),
        }
    }

    /// The exact key of an object, or the path.
    pub fn key(&self) -> &str {
        match self.scheme {
            Scheme::File => self.rest(),
            _ => self.rest().split_once('/').map_or("", |(_, key)| key),
        }
    }

    fn rest(&self) -> &str {
        &self.text[usize::from(self.start)..]
    }
}

/// The name before `://`, if the text begins like a URL.
fn scheme_of(text: &str) -> Option<&str> {
    let (name, _) = text.split_once(SEPARATOR)?;
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_inner))
        .then_some(name)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Location {
    type Err = NotALocation;

    fn from_str(text: &str) -> Result<Self, NotALocation> {
        Self::parse(text)
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Location;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a URL")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Location, E> {
                Location::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests;
