//! The output folder, from the refusal of one that is in use to the visible result.
//!
//! ```text
//!  <output>/_temporary/lock                        held while a job writes there
//!  <output>/_temporary/attempts-<unique>/          the staging folder: attempts write here, each its own file
//!           part-00003.2                           task 3, attempt 2
//!  <output>/part-00003                             at success only: the winner, renamed
//!  <output>/_SUCCESS                               at success, last
//! ```
//!
//! The name of a staging folder is never used twice, so that an attempt of a former job that is still running somewhere
//! cannot write into this one's.

mod error;
mod manifest;
mod publish;
mod rename;
mod reservation;

pub(crate) use error::OutputError;
pub(crate) use manifest::{ManifestInput, ManifestJob, StageCounts};
pub(crate) use publish::{Publication, StagedPart, publish};
pub(crate) use reservation::{Reservation, check};

use windrow_jobs::AttemptId;

/// Folder inside the output folder that holds all that is not result yet.
const TEMPORARY: &str = "_temporary";
/// The manifest, whose presence says that the output is whole.
const SUCCESS: &str = "_SUCCESS";

/// The name of a visible part.
fn part_name(index: u32) -> String {
    format!("part-{index:05}")
}

/// The name that an attempt's part has in the staging folder.
fn staged_name(attempt: AttemptId) -> String {
    format!("{}.{}", part_name(attempt.task.index), attempt.number)
}
