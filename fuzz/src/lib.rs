//! Fuzzes everything in Windrow that reads foreign bytes: files, messages, text from users.
//!
//! ```text
//!  targets   what is fuzzed, and security's share of it; the other crates bring theirs
//!            (`fuzzing` in each)
//!  fuzzer    takes an input, changes it, tries it, keeps it where it led to new code
//!  mutate    the changes
//!  coverage  which code a try has run, where the build counts that
//!  heap      how much memory a try has held
//! ```
//!
//! A target is a function that panics if an input is neither refused nor read correctly. The engine
//! is small: the well-known ones need a nightly compiler or a C++ compiler, or cannot start from
//! valid seeds. It does not minimize what it finds, and keeps nothing between runs.

mod coverage;
mod fuzzer;
mod heap;
mod mutate;
mod random;
mod targets;

pub use fuzzer::{Found, Fuzzer, Progress, try_input};
pub use targets::all;
