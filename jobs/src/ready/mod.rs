//! Ready jobs, which are run by name.

mod aggregate;
mod dedup;
mod distinct;
mod first;
mod grep;
mod histogram;
mod inverted_index;
mod join;
mod n_grams;
mod sample;
mod smallest;
mod sort;
mod table;
mod top;
mod word_count;

pub use aggregate::{count, max, mean, min, sum};
pub use dedup::dedup;
pub use distinct::distinct;
pub use grep::grep;
pub use histogram::histogram;
pub use inverted_index::inverted_index;
pub use join::join;
pub use n_grams::n_grams;
pub use sample::sample;
pub use sort::sort;
pub use top::top;
pub use word_count::word_count;

use std::num::NonZeroUsize;

use crate::job::Job;

/// All ready jobs.
pub fn all() -> Vec<Job> {
    let of_text = [word_count(), n_grams(), inverted_index(), grep(), sort(), dedup(), sample()];
    let of_tables = [count(), sum(), min(), max(), mean(), distinct(), top(), histogram(), join()];
    of_text.into_iter().chain(of_tables).collect()
}

/// A number of things, of which there is one at least.
fn positive(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "must be a whole number from 1 on, such as 100".to_string())
}

#[cfg(test)]
mod tests;
