//! `Shuffle.Fetch` by hand: the gRPC call on both sides, in which a block is never copied.
//!
//! The generated code collects each message in one buffer before it is sent, and again before it is
//! decoded: two copies of all shuffled bytes. Here the sender hands the transport a few bytes of
//! framing and then the block itself, and the receiver takes the block out of the frame in which it
//! arrived. The bytes on the wire are the same. The content of a fetch is the business of the rest
//! of `shuffle`.

mod byte_queue;
mod client;
mod messages;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use client::FetchStream;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use server::request_from;
pub(crate) use server::{Credits, FetchServer};

/// The service, and the path of its call.
const SERVICE: &str = "windrow.v1.Shuffle";
pub(crate) const PATH: &str = "/windrow.v1.Shuffle/Fetch";

/// The prefix of each message: a flag for compression, which is never used, and its length, big
/// endian.
pub(crate) const PREFIX_BYTES: usize = 5;
