//! What a collector needs to know of its map task.

use std::sync::Arc;

use crate::partitioning::SplitPoints;
use crate::user_code::BadRecordPolicy;

/// The setup of a collector.
#[derive(Clone, Debug, Default)]
pub struct CollectorSetup {
    /// Number of partitions; 0 for a map-only job.
    pub partitions: u32,
    /// The number of the input that the task reads, from 0.
    pub input: u32,
    /// Where the ranges of an ordered job begin; empty for other jobs.
    pub split_points: Arc<SplitPoints>,
    /// How to handle bad records. Skipped ones are kept for
    /// [`Collector::take_skipped`](super::Collector::take_skipped).
    pub bad_records: BadRecordPolicy,
    /// The seed of hash tables. The same for all attempts of the job, since digests of their keys
    /// are compared; secret from the authors of the input, who could otherwise make keys collide.
    pub seed: u64,
}
