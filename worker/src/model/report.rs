//! What an attempt that has succeeded says of itself.

use std::time::Duration;

use windrow_jobs::{Audit, Counters, Emitted, FailureCause, PartHandle};

/// What an attempt that succeeded leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// What it counted.
    pub stats: Stats,
    /// The part that it wrote: reduce attempts, and map attempts of map-only jobs.
    pub part: Option<PartHandle>,
    /// The file of the bad records that it skipped, if it skipped any.
    pub quarantine: Option<PartHandle>,
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
    /// What the first of them failed with.
    pub skipped_example: Option<FailureCause>,
    /// How long it ran.
    pub elapsed: Duration,
    /// The user's counters.
    pub counters: Counters,
    /// Of a map, what it has left for the shuffle; of a reduce, what it has read of it.
    pub audit: Audit,
    /// Of a map of a job with a combiner.
    pub emitted: Option<Emitted>,
}
