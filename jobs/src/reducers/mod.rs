//! Ready reducers and combiners.
//!
//! | | combiner of | reducer of | output |
//! | --- | --- | --- | --- |
//! | [`Sum`] | integers | numbers | key, sum |
//! | [`Count`] | | any values | key, number of values |
//! | [`Min`], [`Max`] | ordered values | ordered values | key, smallest or largest |
//! | [`Distinct`] | `()` | any values | each key once |
//! | [`Identity`] | | any values | all pairs, sorted |
//! | [`TopK`] | | ordered values | key, each of the k largest |

mod count;
mod distinct;
mod extreme;
mod identity;
mod sum;
mod top_k;

pub use count::Count;
pub use distinct::Distinct;
pub use extreme::{Max, Min};
pub use identity::Identity;
pub use sum::Sum;
pub use top_k::TopK;

#[cfg(test)]
mod tests;
