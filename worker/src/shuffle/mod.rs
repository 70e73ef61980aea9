//! From map output to reduce input: sorted pairs in checked blocks, in segments by partition,
//! merged.
//!
//! ```text
//!  map attempt                     worker A                         reduce attempt on worker B
//!  buffers --sort--> segment  -->  Shuffle::Fetch (merge) --gRPC--> \
//!     \--spill--> segment /        segment files, same host -------> merge --> Program::reduce
//! ```
//!
//! Everything here handles encoded bytes; only `windrow-jobs` knows user types.

pub(crate) mod block;
pub(crate) mod fetch;
pub(crate) mod merge;
pub(crate) mod origin;
pub(crate) mod pairs;
pub(crate) mod segment;
pub(crate) mod serve;
pub(crate) mod source;
pub(crate) mod spill;
pub(crate) mod store;
#[cfg(test)]
mod tests;
pub(crate) mod transport;
mod tree;

pub use fetch::FetchTimeouts;
pub use serve::ShuffleService;
