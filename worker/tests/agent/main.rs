//! The worker as its coordinator sees it: a whole worker, and a coordinator that is scripted
//! message by message.

// Allowed in tests; clippy does not see that the helpers belong to them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod joining;
mod lease;
mod leaving;
mod orders;
mod returning;
mod support;
