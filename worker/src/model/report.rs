//! The report of an attempt that has succeeded.

use std::time::Duration;

use windrow_jobs::{Audit, Counters, Emitted, FailureCause, PartHandle};

/// The outcome of an attempt that has succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Its counts.
    pub stats: Stats,
    /// The part that it wrote, as reduce attempts and map attempts of map-only jobs do.
    pub part: Option<PartHandle>,
    /// The file of the bad records that it skipped, if there are any.
    pub bad_records: Option<PartHandle>,
}

/// Counts of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records read.
    pub input_records: u64,
    /// Bytes read.
    pub input_bytes: u64,
    /// Records written.
    pub output_records: u64,
    /// Bytes written.
    pub output_bytes: u64,
    /// Bad records that it skipped.
    pub skipped_records: u64,
    /// The failure of the first of them.
    pub skipped_example: Option<FailureCause>,
    /// How long it ran.
    pub elapsed: Duration,
    /// The user's counters.
    pub counters: Counters,
    /// Digests of the pairs: those that a map has collected for the shuffle, or a reduce has read.
    pub audit: Audit,
    /// Counts of a map of a job with a combiner.
    pub emitted: Option<Emitted>,
}
