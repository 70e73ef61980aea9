//! The coordinator as its peers see it: over gRPC in memory, with workers that are scripted message
//! by message. Time is virtual.

// Allowed in tests; clippy does not see that the helpers belong to them.
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
