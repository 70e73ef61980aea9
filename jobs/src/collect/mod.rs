//! What a map thread collects: encoded pairs, combined in a hash table where the job has a
//! combiner.
//!
//! Each kind of job has a store of its own, with which user code is monomorphised; one collector
//! drives them all, and asks its [`MemoryBudget`] before it grows. The append buffer knows how it is
//! sorted, but nothing here decides when, spills, or knows the memory budget: the worker does.

mod append_store;
mod arena;
mod buffer_batches;
mod chains;
mod chunk_mapper;
mod combine_store;
mod deferred_store;
mod encoded_store;
mod entry;
mod huge_pages;
mod key_table;
mod padded;
mod record_buffer;
mod skipping_mapper;
mod sort;
mod suffix;

pub use buffer_batches::BufferBatches;
#[doc(hidden)]
pub use entry::prefix;
pub use record_buffer::{RecordBuffer, SortTask};

pub(crate) use append_store::AppendStore;
pub(crate) use chunk_mapper::map_into;
pub(crate) use combine_store::CombineStore;
pub(crate) use deferred_store::DeferredStore;
pub(crate) use encoded_store::EncodedStore;
pub(crate) use record_buffer::PAIR_BYTES_MAX;

use crate::audit::Audit;
use crate::bad_records::BadRecord;
use crate::counters::{Counters, LocalCounters};
use crate::error::Result;
use crate::failure::FailureCause;
use crate::input::Chunk;
use crate::key::Key;
use crate::program::Sections;
use crate::value::Value;

/// One thread's share of a map task. It maps chunks and keeps what they give until it is taken.
pub trait Collector: Send {
    /// Maps every record of `chunk` and returns their number. Asks `room` before it takes up more
    /// memory, and hands over what it has where that is refused. After an error the collector must
    /// be dropped. Panics of user code are caught and returned as [`FailureCause::UserPanic`].
    fn map_chunk(
        &mut self,
        chunk: &Chunk<'_>,
        room: &mut dyn MemoryBudget,
    ) -> Result<u64, FailureCause>;

    /// Memory that the collected pairs take up, in bytes.
    fn memory_bytes(&self) -> usize;

    /// Takes what was collected since the last call, and gives its memory back. An error is the
    /// user code's, which encodes combined values only now; then the collector must be dropped.
    fn take(&mut self) -> Result<Collected, FailureCause>;

    /// Takes the user counters since the last call.
    fn take_counters(&mut self) -> Counters;

    /// The keys of the pairs that were emitted so far, as [`Emitted::keys`](crate::Emitted::keys).
    /// Pairs that still wait to be combined are not among them. `None` where pairs are not
    /// combined.
    fn emitted(&self) -> Option<Audit> {
        None
    }

    /// Takes the bad records that were left out since the last call, in the order of the input.
    /// Only a collector that was [set up](crate::program::CollectorSetup::bad_records) for it leaves any
    /// out.
    fn take_skipped(&mut self) -> Vec<BadRecord> {
        Vec::new()
    }
}

/// The memory that a collector may take up.
pub trait MemoryBudget {
    /// Asks that the collector may take up `bytes` in all. If not, it has to [`spill`](Self::spill)
    /// first.
    fn grow(&mut self, bytes: usize) -> bool;

    /// Takes what was collected so far; not sorted. Gives the buffer back, emptied, where its
    /// memory may go on being used.
    fn spill(&mut self, pairs: RecordBuffer) -> Result<RecordBuffer, FailureCause>;

    /// Takes the output that was collected so far of the chunk that is being mapped. Only map-only
    /// jobs collect output.
    fn spill_output(
        &mut self,
        bytes: Vec<u8>,
        records: u64,
        sections: Sections,
    ) -> Result<(), FailureCause> {
        let _ = (bytes, records, sections);
        unreachable!("a job that reduces collects pairs")
    }
}

/// All the memory that there is: nothing is ever spilled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl MemoryBudget for Unlimited {
    fn grow(&mut self, _bytes: usize) -> bool {
        true
    }

    fn spill(&mut self, pairs: RecordBuffer) -> Result<RecordBuffer, FailureCause> {
        Ok(pairs)
    }
}

/// What a collector had.
#[derive(Debug)]
pub enum Collected {
    /// Encoded pairs for the shuffle, not sorted yet.
    Pairs(RecordBuffer),
    /// Finished output of a map-only job, in input order.
    Output {
        /// Whole sections, ready to be written.
        bytes: Vec<u8>,
        /// The pairs in them.
        records: u64,
        /// What the part has to know of them.
        sections: Sections,
    },
}

/// Where one thread's pairs go: the part of a [`Collector`] that knows how pairs are kept.
pub(crate) trait Store<K: Key + ?Sized, V: Value + ?Sized>: Send {
    /// Takes one pair. `salt` goes to the [`Route`](crate::program::Route). Returns whether it is
    /// time to [`settle`](Self::settle) and to look at [`wanted_bytes`](Self::wanted_bytes).
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, salt: u64) -> Result<bool>;

    /// Makes sure that a pair can be put, and returns about how many bytes it has. What is wrong
    /// with it is said now, except by combiners.
    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, salt: u64) -> Result<usize>;

    /// Does what was put off. An error is not that of the last pair, but of some pair since the
    /// last call.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Memory that the next pairs will need in all, in bytes: what is taken up, and what the store
    /// would grow by.
    fn wanted_bytes(&self) -> usize;

    /// See [`Collector::memory_bytes`].
    fn memory_bytes(&self) -> usize;

    /// See [`Collector::take`].
    fn take(&mut self) -> Result<Collected>;

    /// Takes back a buffer that has been emptied, or frees its memory.
    fn reuse(&mut self, buffer: RecordBuffer) {
        drop(buffer);
    }

    /// See [`Collector::emitted`].
    fn emitted(&self) -> Option<Audit> {
        None
    }

    /// The user's counters.
    fn counters(&mut self) -> &mut LocalCounters;
}

#[cfg(test)]
mod tests;
