//! Inputs: one version of a file or an object, read by position.
//!
//! Everything that is read of a job's input, by map tasks and for samples, comes through
//! [`Input`]; a store is added by implementing it, and in [`open`]. A version that does not exist,
//! or not any more, is [`InputChanged`](FailureCause::InputChanged) in every store.

mod local;
pub mod units;

use windrow_jobs::{FailureCause, Location, Version};

/// One version of a file or an object, open for reading.
pub trait Input: Send {
    /// Fills the buffer with the bytes at this offset. They must lie within the version.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FailureCause>;

    /// Checks that everything that was read is of this version; a store that checks each read does
    /// nothing here.
    fn check(&self) -> Result<(), FailureCause>;
}

/// Opens this version of the input.
pub fn open(location: &Location, version: &Version) -> Result<Box<dyn Input>, FailureCause> {
    match location.to_local() {
        Ok(path) => Ok(Box::new(local::LocalFile::open(path, version)?)),
        Err(no_store) => Err(FailureCause::Unsupported { message: no_store.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_of_an_unknown_store_is_refused() {
        let location = Location::parse("s3://bucket/key").unwrap();
        let version = Version::Object { bytes: 1, etag: "e".into() };
        let cause = open(&location, &version).err().unwrap();
        assert!(matches!(cause, FailureCause::Unsupported { .. }), "{cause}");
        assert!(cause.to_string().contains("s3://bucket/key"), "{cause}");
    }

    #[test]
    fn a_file_is_not_the_version_of_an_object() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let location = Location::of_path(file.path()).unwrap();
        let version = Version::Object { bytes: 0, etag: "e".into() };
        let cause = open(&location, &version).err().unwrap();
        assert!(matches!(cause, FailureCause::InputChanged { .. }), "{cause}");
    }
}
