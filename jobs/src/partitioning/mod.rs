//! Partitioning: which partition gets a pair, by the hash of its key or by ranges of keys.

mod partitioner;
mod route;
mod split_points;

pub use partitioner::{HashPartitioner, Partitioner, hash_key};
pub use route::Ordered;
pub use split_points::{SampledPair, SplitPoints};

pub(crate) use route::{Route, RouteMaker};

use serde::{Deserialize, Serialize};

/// How the pairs of a job are spread over its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partitioning {
    /// By the key alone: by its hash, or by the job's own partitioner.
    ByKey,
    /// By ranges of keys, so that the partitions in sequence have all pairs in order. Needs
    /// [`SplitPoints`], chosen from a sample of the pairs.
    Ranges {
        /// Whether pairs of one key may go to several partitions, since they are not reduced
        /// together.
        within_keys: bool,
    },
}
