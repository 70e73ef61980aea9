//! Which state of a file or an object is meant, and how much of it.

use std::fs::Metadata;
use std::ops::Range;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::location::Location;

/// One state of a file or an object: what a job is planned for, and what its tasks read or refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// Of a file.
    Local {
        /// Its size.
        bytes: u64,
        /// When it was written last, in nanoseconds since 1970.
        modified_unix_ns: u64,
    },
    /// Of an object in a store.
    Object {
        /// Its size.
        bytes: u64,
        /// What the store calls this state.
        etag: Box<str>,
    },
}

impl Version {
    /// That of a file which the system says this of. What is older than 1970 counts as of then.
    pub fn of_file(metadata: &Metadata) -> std::io::Result<Self> {
        let age = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_unix_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self::Local { bytes: metadata.len(), modified_unix_ns })
    }

    /// The size.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Local { bytes, .. } | Self::Object { bytes, .. } => *bytes,
        }
    }
}

/// Bytes of one file or object, in one version. Records that begin in the range belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRange {
    /// Where the file lies.
    pub location: Location,
    /// Its place among all of the job's input, counted from 0.
    pub file_number: u32,
    /// From the first byte to the one after the last.
    pub range: Range<u64>,
    /// As it was when the job was planned.
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

    /// A plan holds millions of them.
    #[test]
    fn a_version_takes_up_as_much_as_its_largest_kind() {
        assert_eq!(size_of::<Version>(), 24);
        assert_eq!(size_of::<Location>(), 24);
    }
}
