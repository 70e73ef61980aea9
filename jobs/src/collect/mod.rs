//! What a map thread collects: encoded pairs, combined in a hash table where the job has a combiner.
//!
//! Each kind of job has a store of its own, which is the emitter that user code is monomorphised with; one
//! collector drives them all. Nothing here sorts, spills or knows the memory budget: the worker decides.

mod append_store;
mod arena;
mod buffer_batches;
mod chunk_mapper;
mod combine_store;
mod entry;
mod huge_pages;
mod key_table;
mod padded;
mod prefetch;
mod record_buffer;
mod sort;
mod suffix;
mod text_store;

pub use buffer_batches::BufferBatches;
pub use record_buffer::{RecordBuffer, SortTask};

pub(crate) use append_store::AppendStore;
pub(crate) use chunk_mapper::ChunkMapper;
pub(crate) use combine_store::CombineStore;
pub(crate) use text_store::TextStore;

use crate::counters::Counters;
use crate::emit::Emit;
use crate::error::Result;
use crate::failure::FailureCause;
use crate::input::Chunk;
use crate::key::Key;
use crate::value::Value;

/// One thread's share of a map task. It maps chunks and keeps what they give until it is taken.
pub trait Collector: Send {
    /// Maps every record of `chunk` and returns their number. After an error the collector must be dropped.
    /// Panics of user code are caught and returned as [`FailureCause::UserPanic`].
    fn map_chunk(&mut self, chunk: &Chunk<'_>) -> Result<u64, FailureCause>;

    /// Memory that the collected pairs take up, in bytes.
    fn memory_bytes(&self) -> usize;

    /// What will soon be allocated at once, in bytes, beside the memory that is already taken up: a table that is
    /// nearly full moves to a larger one. 0 where none is.
    fn next_growth_bytes(&self) -> usize {
        0
    }

    /// Takes what was collected since the last call, and gives its memory back. An error is the user code's, which
    /// encodes combined values only now; then the collector must be dropped.
    fn take(&mut self) -> Result<Collected, FailureCause>;

    /// Takes the user counters since the last call.
    fn take_counters(&mut self) -> Counters;
}

/// What a collector had.
#[derive(Debug)]
pub enum Collected {
    /// Encoded pairs for the shuffle, not sorted yet.
    Pairs(RecordBuffer),
    /// Finished output of a map-only job, in input order.
    Text {
        /// Lines, ready to be written.
        bytes: Vec<u8>,
        /// Their number.
        records: u64,
    },
}

/// Where one thread's pairs go: the part of a [`Collector`] that knows how pairs are kept.
pub(crate) trait Store<K: Key + ?Sized, V: Value + ?Sized>: Emit<K, V> + Send {
    /// Does what was put off. To be called at the end of each chunk, so that errors are found with it, and before
    /// memory is asked for.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// See [`Collector::memory_bytes`].
    fn memory_bytes(&self) -> usize;

    /// See [`Collector::next_growth_bytes`].
    fn next_growth_bytes(&self) -> usize {
        0
    }

    /// See [`Collector::take`].
    fn take(&mut self) -> Result<Collected>;

    /// See [`Collector::take_counters`].
    fn take_counters(&mut self) -> Counters;
}

#[cfg(test)]
mod tests;
