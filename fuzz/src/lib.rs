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
//! A target is a function that panics where an input is neither refused nor what it should be. The
//! engine is small because the well-known ones need a nightly compiler, or a C++ compiler, or
//! cannot start from inputs that make sense; it does not shrink what it finds, and keeps nothing
//! from one run to the next.

mod coverage;
mod fuzzer;
mod heap;
mod mutate;
mod random;
mod targets;

pub use fuzzer::{Found, Fuzzer, Progress, try_input};
pub use targets::all;
