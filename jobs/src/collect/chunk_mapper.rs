//! The map loop: a mapper, monomorphised with its record format and its store.

use std::sync::Arc;

use super::CollectorSetup;
use super::skipping_mapper::SkippingMapper;
use super::{Collected, Collector, MemoryBudget, Store};
use crate::audit::Audit;
use crate::counters::Counters;
use crate::emit::Emit;
use crate::error::{Error, Result};
use crate::failure::{FailureCause, RecordPlace};
use crate::input::{Chunk, RecordError};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::user_code::panic::Caught;
use crate::user_code::{hidden, panic};
use crate::value::Value;

/// Memory is requested in advance: this much, but at most one part in this many of what is needed.
const AHEAD_BYTES_MAX: usize = 256 << 10;
const AHEAD_PARTS: usize = 16;

/// The collector of a mapper over a store: one that skips bad records, or the faster one that does
/// not.
pub(crate) fn map_into<M: Mapper>(
    mapper: Arc<M>,
    store: impl Store<M::Key, M::Value> + 'static,
    setup: &CollectorSetup,
) -> Box<dyn Collector> {
    let chunk_mapper = ChunkMapper::new(mapper, store);
    if setup.bad_records.is_needed() {
        Box::new(SkippingMapper::new(chunk_mapper, setup.bad_records.clone()))
    } else {
        Box::new(chunk_mapper)
    }
}

/// The collector of mapper `M` over store `S`.
pub(super) struct ChunkMapper<M: Mapper, S> {
    pub(super) mapper: Arc<M>,
    pub(super) format: M::Input,
    pub(super) store: S,
    /// The memory that the store was last granted.
    pub(super) granted_bytes: usize,
}

impl<M: Mapper, S: Store<M::Key, M::Value>> ChunkMapper<M, S> {
    fn new(mapper: Arc<M>, store: S) -> Self {
        let format = mapper.format();
        Self { mapper, format, store, granted_bytes: 0 }
    }
}

impl<M: Mapper, S: Store<M::Key, M::Value>> Collector for ChunkMapper<M, S> {
    fn map_chunk(
        &mut self,
        chunk: &Chunk<'_>,
        memory: &mut dyn MemoryBudget,
    ) -> Result<u64, FailureCause> {
        let Self { mapper, format, store, granted_bytes } = self;
        // The place to report if the mapper panics before it visits a record.
        chunk.visit(chunk.offset);
        let mut out = StoreEmitter { store, chunk, memory, granted_bytes, failure: None };
        let outcome = panic::guard(|| {
            let records = mapper.map_chunk(format, chunk, &mut out)?;
            // An error here does not belong to the last record; `out` holds it.
            let _ = out.settle::<M::Key, M::Value>();
            Ok::<_, RecordError>(records)
        });
        if let Some(cause) = out.failure {
            return Err(cause);
        }
        located(outcome, chunk)
    }

    fn memory_bytes(&self) -> usize {
        self.store.memory_bytes()
    }

    fn take(&mut self) -> Result<Collected, FailureCause> {
        self.granted_bytes = 0;
        panic::settle(panic::guard(|| self.store.take()), RecordPlace::default)
    }

    fn take_counters(&mut self) -> Counters {
        self.store.counters().take()
    }

    fn emitted(&self) -> Option<Audit> {
        self.store.emitted()
    }
}

/// The result of user code; an error or a panic becomes a failure at a record of `chunk`.
pub(super) fn located<R>(
    outcome: Result<Result<R, RecordError>, Caught>,
    chunk: &Chunk<'_>,
) -> Result<R, FailureCause> {
    match outcome {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.into_failure(chunk.file)),
        Err(caught) => {
            Err(caught.into_failure(RecordPlace::in_file(chunk.file).at(chunk.current())))
        }
    }
}

/// The emitter while a chunk is mapped: puts pairs into the store, within the memory budget.
pub(super) struct StoreEmitter<'a, S> {
    pub(super) store: &'a mut S,
    pub(super) chunk: &'a Chunk<'a>,
    pub(super) memory: &'a mut dyn MemoryBudget,
    pub(super) granted_bytes: &'a mut usize,
    /// A failure of the engine, which takes precedence over any error that user code returned
    /// because of it.
    pub(super) failure: Option<FailureCause>,
}

impl<K, V, S> Emit<K, V> for StoreEmitter<'_, S>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    S: Store<K, V>,
{
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        let is_due = self.store.put(key, value, self.chunk.current())?;
        if is_due { self.settle::<K, V>() } else { Ok(()) }
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.store.counters().add(counter, n);
    }
}

impl<S> StoreEmitter<'_, S> {
    /// Lets the store do its deferred work, and grants it memory or spills.
    pub(super) fn settle<K: Key + ?Sized, V: Value + ?Sized>(&mut self) -> Result<()>
    where
        S: Store<K, V>,
    {
        // After a failure nothing is tried again, even if user code ignores the error.
        if let Some(cause) = &self.failure {
            return Err(hidden(cause));
        }
        let settled = self.store.settle();
        settled.map_err(|error| self.out_of_turn(error))?;
        let wanted_bytes = self.store.wanted_bytes();
        if wanted_bytes > *self.granted_bytes {
            self.make_room::<K, V>(wanted_bytes)
        } else {
            Ok(())
        }
    }

    /// Notes the failure of an earlier pair, which must not be blamed on the current record.
    #[cold]
    fn out_of_turn(&mut self, error: Error) -> Error {
        let place = RecordPlace::in_file(self.chunk.file);
        let message = error.message().to_string();
        self.failure = Some(FailureCause::UserError { place, message });
        error
    }

    #[cold]
    fn make_room<K: Key + ?Sized, V: Value + ?Sized>(&mut self, wanted_bytes: usize) -> Result<()>
    where
        S: Store<K, V>,
    {
        // A little in advance, so that a store that grows with each pair does not ask each time.
        let ahead_bytes =
            wanted_bytes.saturating_add(AHEAD_BYTES_MAX.min(wanted_bytes / AHEAD_PARTS));
        for bytes in [ahead_bytes, wanted_bytes] {
            if self.memory.grow(bytes) {
                *self.granted_bytes = bytes;
                return Ok(());
            }
        }
        *self.granted_bytes = 0;
        let taken = self.store.take();
        match taken.map_err(|error| self.out_of_turn(error))? {
            Collected::Pairs(pairs) => {
                let spilled = self.memory.spill(pairs);
                let emptied = spilled.map_err(|cause| hidden(self.failure.insert(cause)))?;
                *self.granted_bytes = emptied.memory_bytes();
                self.store.reuse(emptied);
                Ok(())
            }
            Collected::Output { bytes, records, sections } => {
                let spilled = self.memory.spill_output(bytes, records, sections);
                spilled.map_err(|cause| hidden(self.failure.insert(cause)))
            }
        }
    }
}
