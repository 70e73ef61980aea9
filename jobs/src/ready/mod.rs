//! Jobs that come ready, to be run by name.

mod aggregate;
mod first;
mod grep;
mod inverted_index;
mod sort;
mod table;
mod word_count;

pub use aggregate::{count, max, mean, min, sum};
pub use grep::grep;
pub use inverted_index::inverted_index;
pub use sort::sort;
pub use word_count::word_count;

use crate::job::Job;

/// All ready jobs.
pub fn all() -> Vec<Job> {
    vec![word_count(), grep(), inverted_index(), sort(), count(), sum(), min(), max(), mean()]
}

#[cfg(test)]
mod tests;
