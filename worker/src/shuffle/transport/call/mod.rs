//! `Shuffle.Fetch` by hand: the gRPC call on both sides, in which a block is never copied.
//!
//! The generated code gathers each message in one buffer before it is sent, and again before it is
//! decoded: two copies of all that is shuffled. Here the sender hands the transport a few bytes of
//! framing and then the block itself, and the receiver takes the block out of the frame in which it
//! arrived. On the wire nothing is different. What is fetched, and whether it makes sense, is the
//! business of `shuffle`.

mod client;
mod messages;
mod pieces;
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

/// What precedes each message: whether it is compressed, which it never is, and its length, big
/// endian.
pub(crate) const PREFIX_BYTES: usize = 5;
