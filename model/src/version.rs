//! Versions of files and objects, and ranges of bytes in them.

use std::fs::Metadata;
use std::ops::Range;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::location::Location;

/// One state of a file or an object. A job is planned for a version; its tasks refuse to read any
/// other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// A file.
    Local {
        /// Its size.
        bytes: u64,
        /// When it was last written, in nanoseconds since 1970.
        modified_unix_ns: u64,
    },
    /// An object in a store.
    Object {
        /// Its size.
        bytes: u64,
        /// The store's name for this state.
        etag: Box<str>,
    },
}

impl Version {
    /// The version of a file with this metadata. A time before 1970 counts as 1970.
    pub fn of_file(metadata: &Metadata) -> std::io::Result<Self> {
        let age = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_unix_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self::Local { bytes: metadata.len(), modified_unix_ns })
    }

    /// Size of the file or object.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Local { bytes, .. } | Self::Object { bytes, .. } => *bytes,
        }
    }
}

/// A range of bytes in one version of a file or object. Records that begin in the range belong to
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRange {
    /// Where the file lies.
    pub location: Location,
    /// Its number among all of the job's input files, from 0.
    pub file_number: u32,
    /// From the first byte to the one after the last.
    pub range: Range<u64>,
    /// The version when the job was planned.
    pub version: Version,
}

impl InputRange {
    /// Number of bytes in the range.
    pub fn bytes(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_file_is_its_size_and_time() {
        let metadata = std::fs::metadata(file!().trim_start_matches("model/")).unwrap();
        let version = Version::of_file(&metadata).unwrap();
        assert_eq!(version.bytes(), metadata.len());
        assert!(matches!(version, Version::Local { modified_unix_ns: 1.., .. }));
    }

    #[test]
    fn versions_differ_in_size_time_and_etag() {
        let local = |bytes, modified_unix_ns| Version::Local { bytes, modified_unix_ns };
        let object = |bytes, etag: &str| Version::Object { bytes, etag: etag.into() };
        let all = [local(1, 2), local(1, 3), local(2, 2), object(1, "a"), object(1, "b")];
        for (index, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(index));
        }
    }

    /// A plan holds millions of versions.
    #[test]
    fn a_version_stays_small() {
        assert_eq!(size_of::<Version>(), 24);
        assert_eq!(size_of::<Location>(), 24);
    }
}
