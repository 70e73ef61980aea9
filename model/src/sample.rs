//! What a submitter samples of the input of an ordered job.

use crate::version::InputRange;

/// A piece of a file to sample. The coordinator, which has listed the files, chooses it; the
/// submitter reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplePiece {
    /// Pieces of one stratum are neighbours.
    pub stratum: u32,
    /// The index of the file's input.
    pub input: u32,
    /// The range in which wanted records begin.
    pub range: InputRange,
}
