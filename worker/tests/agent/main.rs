//! The worker as its coordinator sees it: a whole worker, and a scripted coordinator.

// Allowed in tests, but clippy does not count helper functions as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod joining;
mod lease;
mod leaving;
mod orders;
mod returning;
mod support;
