//! Submitters, where they are told apart, and their load.

use serde::{Deserialize, Serialize};
use windrow_jobs::JobSpec;

/// Identifies a submitter. Zero where submitters are not told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Submitter(pub(crate) u64);

impl Submitter {
    /// The submitter of this name, if there is a name.
    pub(crate) fn named(name: Option<&str>) -> Self {
        let Some(name) = name else { return Self::default() };
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(name.as_bytes()).as_bytes();
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// A number of jobs, and the bytes of their specifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) jobs: u64,
    pub(crate) bytes: u64,
}

impl Load {
    /// The approximate load of a job.
    pub(crate) fn of(spec: &JobSpec) -> Self {
        let inputs =
            spec.inputs.iter().map(|input| size_of_val(input) + input.pattern.as_str().len());
        let files = spec.files.iter().map(size_of_val);
        let writable = spec.writable.iter().map(|path| size_of_val(path) + path.as_os_str().len());
        let parts = inputs.chain(files).chain(writable).sum::<usize>();
        let bytes = size_of_val(spec) + spec.params.len() + parts;
        Self { jobs: 1, bytes: bytes as u64 }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self { jobs: self.jobs + other.jobs, bytes: self.bytes + other.bytes }
    }
}
