//! Reads each file as one record, and sorts the results by file name.

use windrow::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

/// A file's name, its size and the hash of its bytes.
struct Documents;

pub fn job() -> Job {
    Job::new("documents", Documents).reduce(Identity)
}

impl Mapper for Documents {
    type Input = Located<WholeFile>;
    type Key = str;
    type Value = String;

    fn map(
        &self,
        document: LocatedRecord<'_, &[u8]>,
        out: &mut impl Emit<str, String>,
    ) -> Result<()> {
        let name = document.file.rsplit('/').next().unwrap_or_default();
        let bytes = document.record;
        if bytes == b"bad" {
            return Err(Error::new("a bad document"));
        }
        out.emit(name, &format!("{} {:x}", bytes.len(), xxh3_64(bytes)))
    }
}
