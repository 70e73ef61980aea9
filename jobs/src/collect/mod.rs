//! Collectors: each map thread collects encoded pairs, and combines them in a hash table if the job
//! has a combiner.
//!
//! Each kind of job has its own store, with which user code is monomorphised. One collector drives
//! them all, and asks its [`MemoryBudget`] before it grows. Nothing here spills or decides when to
//! sort: the worker does.

mod append_store;
mod arena;
mod blocks;
mod buffer_batches;
mod chains;
mod chunk_mapper;
mod combine_store;
mod deferred_store;
mod encoded_store;
mod entry;
mod huge_pages;
mod key_table;
mod record_buffer;
mod sections;
mod setup;
mod skipping_mapper;
mod sort;
mod suffix;

pub use buffer_batches::BufferBatches;
pub use record_buffer::{RecordBuffer, SortTask};
pub use sections::Sections;
pub use setup::CollectorSetup;

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
use crate::value::Value;

/// One thread's share of a map task: maps chunks, and keeps their output until it is taken.
pub trait Collector: Send {
    /// Maps every record of `chunk` and returns their number. Asks `memory` before it uses more
    /// memory, and spills to it if refused. After an error the collector must be dropped. Panics of
    /// user code are caught and returned as [`FailureCause::UserPanic`].
    fn map_chunk(
        &mut self,
        chunk: &Chunk<'_>,
        memory: &mut dyn MemoryBudget,
    ) -> Result<u64, FailureCause>;

    /// Memory of the collected pairs, in bytes.
    fn memory_bytes(&self) -> usize;

    /// Takes the pairs collected since the last call, and frees the other memory. An error comes
    /// from user code, which encodes combined values only now; then the collector must be dropped.
    fn take(&mut self) -> Result<Collected, FailureCause>;

    /// Takes the user counters since the last call.
    fn take_counters(&mut self) -> Counters;

    /// The audit of the keys emitted so far, as in [`Emitted::keys`](crate::Emitted::keys), without
    /// pairs that still wait to be combined. `None` unless the job has a combiner.
    fn emitted(&self) -> Option<Audit> {
        None
    }

    /// Takes the bad records that were skipped since the last call, in input order. Only a
    /// collector [set up](CollectorSetup::bad_records) to do so skips any.
    fn take_skipped(&mut self) -> Vec<BadRecord> {
        Vec::new()
    }
}

/// The memory that a collector may use: it grows or spills.
pub trait MemoryBudget {
    /// Asks for `bytes` in all. If refused, the collector must [`spill`](Self::spill) first.
    fn grow(&mut self, bytes: usize) -> bool;

    /// Takes the unsorted pairs collected so far. Returns the emptied buffer if its memory may be
    /// reused.
    fn spill(&mut self, pairs: RecordBuffer) -> Result<RecordBuffer, FailureCause>;

    /// Takes the output collected so far of the current chunk. Only map-only jobs collect output.
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

/// Unlimited memory: nothing is ever spilled.
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

/// What a collector has collected.
#[derive(Debug)]
pub enum Collected {
    /// Encoded pairs for the shuffle, unsorted.
    Pairs(RecordBuffer),
    /// Finished output of a map-only job, in input order.
    Output {
        /// Whole sections, ready to be written.
        bytes: Vec<u8>,
        /// Number of pairs in them.
        records: u64,
        /// The sections, for the part's footer.
        sections: Sections,
    },
}

/// The part of a [`Collector`] that keeps the pairs of one thread.
pub(crate) trait Store<K: Key + ?Sized, V: Value + ?Sized>: Send {
    /// Takes one pair. `salt` is passed to the [`Route`](crate::partitioning::Route). Returns
    /// whether to [`settle`](Self::settle) and to check [`wanted_bytes`](Self::wanted_bytes).
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, salt: u64) -> Result<bool>;

    /// Checks that a pair can be put, and returns its approximate size. Reports all errors except
    /// those of combiners.
    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, salt: u64) -> Result<usize>;

    /// Does the deferred work. An error may belong to any pair since the last call.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Memory that the store will use once the next pairs are put, in bytes: present memory and the
    /// next growth.
    fn wanted_bytes(&self) -> usize;

    /// See [`Collector::memory_bytes`].
    fn memory_bytes(&self) -> usize;

    /// See [`Collector::take`].
    fn take(&mut self) -> Result<Collected>;

    /// Takes back an emptied buffer for reuse, or frees its memory.
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
