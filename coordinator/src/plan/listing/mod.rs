//! Lists the files of an input.
//!
//! An input is a file, a folder (all files in it and below it) or a glob pattern. Names that begin
//! with `.` or `_` are hidden or temporary and skipped, as Hadoop does, unless the user names them:
//! an input that is such a file or folder itself, or a pattern whose own component begins with that
//! sign, is taken. Links to files are followed; links to folders found on the way down are not, so
//! that cycles do no harm.
//!
//! ```text
//!  patterns --expand--> candidates --places--> each file once --inspect--> size and time,
//!            folders are read       a folder has its           side by     in the order of paths
//!                                   real name found once       side: two
//!                                                              calls a file
//! ```
//!
//! There may be millions of files on a server that takes a millisecond for each call. So each file
//! is inspected once, on several threads; each folder is resolved once; and memory is bounded.

mod candidates;
mod expand;
mod pattern;
mod places;

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::{Deserialize, Serialize};
use windrow_jobs::{Location, Version};

use super::error::PlanError;
use crate::hanging::{at, is_given_up};
use crate::parallel_io::try_map;
use candidates::{Candidate, Candidates};
pub(super) use places::Places;

/// An input file, in the version of the planning time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputFile {
    /// The index of the job's input.
    pub(crate) input: u32,
    /// Its absolute location.
    pub(crate) location: Location,
    /// Its size and time.
    pub(crate) version: Version,
}

impl InputFile {
    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.version.bytes()
    }

    #[cfg(test)]
    pub(crate) fn for_test(input: u32, path: &str, bytes: u64) -> Self {
        let location = Location::of_path(Path::new(path)).expect("a path");
        Self { input, location, version: Version::Local { bytes, modified_unix_ns: 0 } }
    }
}

/// All files that the `patterns` of one input name, each once, in the order of their paths.
/// Inspects each, so that an unreadable file is found before anything runs, and notes their real
/// paths in `places`.
pub(super) fn list<'a>(
    input: u32,
    patterns: impl IntoIterator<Item = &'a Location>,
    places: &mut Places,
) -> Result<Vec<InputFile>, PlanError> {
    let mut candidates = Candidates::default();
    let patterns: Vec<_> = patterns.into_iter().collect();
    expand::expand(&patterns, &mut candidates)?;
    let candidates = places.each_once(candidates.into_vec())?;
    try_map(&candidates, |candidate| {
        check_is_waited_for()?;
        at(&candidate.path, || inspect(input, candidate))
    })
}

/// An error if the listing is not wanted any more: it may have millions of files.
fn check_is_waited_for() -> Result<(), PlanError> {
    if is_given_up() { Err(PlanError::GivenUp) } else { Ok(()) }
}

fn inspect(input: u32, Candidate { path, .. }: &Candidate) -> Result<InputFile, PlanError> {
    let location =
        Location::of_path(path).ok_or_else(|| PlanError::NotUtf8 { path: path.clone() })?;
    let failed = |error| unreadable(path, error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(PlanError::NotAFile { path: path.clone() });
    }
    check_readable(path).map_err(failed)?;
    Ok(InputFile { input, location, version: Version::of_file(&metadata).map_err(failed)? })
}

/// Checks access instead of opening: half of the calls, and a device or pipe in the file's place is
/// never touched.
fn check_readable(path: &Path) -> io::Result<()> {
    match accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS) {
        // The system cannot tell. The task that reads the file will.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => Ok(()),
        asked => Ok(asked?),
    }
}

fn unreadable(path: &Path, error: io::Error) -> PlanError {
    let path = path.to_path_buf();
    if error.kind() == io::ErrorKind::NotFound
        && let Ok(target) = fs::read_link(&path)
    {
        return PlanError::DanglingLink { path, target };
    }
    PlanError::Unreadable { path, error }
}

#[cfg(test)]
mod tests;
