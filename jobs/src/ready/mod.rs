//! Jobs that come ready, to be run by name.

mod grep;
mod inverted_index;
mod word_count;

pub use grep::grep;
pub use inverted_index::inverted_index;
pub use word_count::word_count;

use crate::job::Job;

/// All ready jobs.
pub fn all() -> Vec<Job> {
    vec![word_count(), grep(), inverted_index()]
}
