//! The coordinator as its peers see it, over gRPC in memory, with scripted workers. Time is
//! virtual.

// Allowed in tests, but clippy does not count helper functions as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod blobs;
mod declared;
mod failures;
mod hostile;
mod jobs;
mod refusals;
mod restart;
mod sessions;
mod support;
