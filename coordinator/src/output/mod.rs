//! The output folder, from the refusal of a used one to the visible result.
//!
//! ```text
//!  <output>/_temporary/lock                        the folder's owner
//!  <output>/_temporary/attempts-<unique>/          the staging folder: attempts write here,
//!                                                  each its own file
//!           part-00003.2                           task 3, attempt 2
//!           bad-map-00001.1                        the bad records that this attempt has skipped
//!  <output>/_temporary/commit-<unique>.<epoch>/    the same folder, renamed when its
//!                                                  publication begins
//!  <output>/_temporary/own-<unique>.<epoch>.<..>/  the publication's private folder
//!  <output>/part-00003                             at success only: the winner, renamed
//!  <output>/_bad-records/map-00001.jsonl           likewise, where records were skipped
//!  <output>/_SUCCESS                               at success, last
//! ```
//!
//! The name of a staging folder is never reused, so that an attempt of a former job that still runs
//! somewhere cannot write into it. A coordinator that takes over a publication takes its
//! predecessor's folders away: a predecessor that wakes up in the middle of a publication finds
//! nothing to work on.
//!
//! A job's code can write to its staging folder, and sometimes to all of the output. So nothing
//! beneath an output is reached by a path, and no link is followed: see [`folder`]. No other module
//! may use `std::fs` there.
//!
//! Without a journal, nothing is flushed to disk: the output survives the death of processes, but
//! not a power failure within seconds of the end. The manifest's sizes and checksums then reveal a
//! torn part. With a journal, parts, manifest and folder are forced to disk before the job
//! succeeds.

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
pub(crate) use staged::{AttemptFiles, Reported, StagedPart};
pub(crate) use stop::Stop;
pub use verify::{Verified, VerifyError, verify};

/// Folder inside the output folder for everything that is not a result yet.
const TEMPORARY: &str = "_temporary";
/// The manifest, whose presence shows that the output is complete.
const SUCCESS: &str = "_SUCCESS";
/// Folder inside the output folder for bad records. Readers of outputs ignore names with this
/// prefix.
const BAD_RECORDS: &str = "_bad-records";
/// Prefix of visible parts.
const PART: &str = "part-";
