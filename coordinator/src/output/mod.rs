//! The output folder, from the refusal of one that is in use to the visible result.
//!
//! ```text
//!  <output>/_temporary/lock                        whose folder it is
//!  <output>/_temporary/attempts-<unique>/          the staging folder: attempts write here,
//!                                                  each its own file
//!           part-00003.2                           task 3, attempt 2
//!           bad-map-00001.1                        the bad records that this attempt has skipped
//!  <output>/_temporary/commit-<unique>.<epoch>/    the same folder, renamed when its
//!                                                  publication begins
//!  <output>/_temporary/own-<unique>.<epoch>.<..>/  what is the publication's, and nobody else's
//!  <output>/part-00003                             at success only: the winner, renamed
//!  <output>/_bad-records/map-00001.jsonl           likewise, where records were skipped
//!  <output>/_SUCCESS                               at success, last
//! ```
//!
//! The name of a staging folder is never used twice, so that an attempt of a former job that is
//! still running somewhere cannot write into this one's. A coordinator that takes over a
//! publication takes the folders of its predecessor away: from then on, nothing that this one does
//! finds what it is looking for, even if it wakes up in the middle of it.
//!
//! Whoever runs a job's code may write to its staging folder, and some to all of the output. So
//! nothing beneath an output is reached by a path here, nor is a link followed: see [`folder`]. No
//! module but that one may use `std::fs` for what lies there.
//!
//! Without a journal, nothing is flushed to disk: the output survives the death of processes, not a
//! power failure within seconds of the end. The manifest's sizes and checksums then show a torn
//! part. With a journal, parts, manifest and folder are forced to disk before the job succeeds.

mod commit_folder;
mod error;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod lock;
mod manifest;
mod paths;
mod private_folder;
mod publish;
mod remove;
mod replace;
mod reservation;
mod search;
mod staged;
mod stop;
mod verify;

pub(crate) use error::OutputError;
pub(crate) use lock::Owner;
pub(crate) use manifest::{ManifestJob, StageCounts};
pub(crate) use paths::OutputPaths;
pub use paths::remove_from_temporary;
pub(crate) use publish::{Publication, publish};
pub(crate) use reservation::{Reservation, check, jobs_in};
pub(crate) use search::refuse_outputs_at;
pub(crate) use staged::{AttemptFiles, StagedPart};
pub(crate) use stop::Stop;
pub use verify::{Verified, VerifyError, verify};

/// Folder inside the output folder that holds all that is not result yet.
const TEMPORARY: &str = "_temporary";
/// The manifest, whose presence says that the output is whole.
const SUCCESS: &str = "_SUCCESS";
/// Folder inside the output folder for what was skipped. Readers of the output pass over it, as its
/// name begins so.
const BAD_RECORDS: &str = "_bad-records";
/// What the names of visible parts begin with.
const PART: &str = "part-";
