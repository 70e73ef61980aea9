//! Paths that may be input files, within bounds.

use std::path::PathBuf;

use crate::plan::PlanError;

/// Most files of an input: the plan holds all of them in memory until the job ends.
const FILES_MAX: usize = 4_000_000;
/// Most bytes of their paths together.
const PATHS_BYTES_MAX: usize = 512 << 20;

/// A path that may be an input file.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) origin: Origin,
}

/// How a path was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file itself.
    File,
    /// A link to a file elsewhere.
    Link,
}

/// The candidates found so far.
#[derive(Default)]
pub(super) struct Candidates {
    found: Vec<Candidate>,
    paths_bytes: usize,
}

impl Candidates {
    /// Adds a candidate. An error if there are too many.
    pub(super) fn push(&mut self, path: PathBuf, origin: Origin) -> Result<(), PlanError> {
        self.paths_bytes += path.as_os_str().len();
        self.found.push(Candidate { path, origin });
        if self.paths_bytes > PATHS_BYTES_MAX {
            return Err(too_many());
        }
        Self::check(self.found.len())
    }

    /// An error if this many files are too many.
    pub(super) fn check(files: usize) -> Result<(), PlanError> {
        if files > FILES_MAX { Err(too_many()) } else { Ok(()) }
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn into_vec(self) -> Vec<Candidate> {
        self.found
    }
}

fn too_many() -> PlanError {
    PlanError::TooManyFiles { most: FILES_MAX, bytes_most: PATHS_BYTES_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_bounded() {
        let mut candidates = Candidates::default();
        let long = PathBuf::from("x".repeat(PATHS_BYTES_MAX / 2));
        candidates.push(long.clone(), Origin::File).unwrap();
        candidates.push(long, Origin::File).unwrap();
        let error = candidates.push("y".into(), Origin::File).unwrap_err().to_string();
        assert!(error.contains("4000000 files"), "{error}");
    }
}
