//! The map loop: a mapper, monomorphised with its record format and its store.

use std::sync::Arc;

use super::{Collected, Collector, Store};
use crate::counters::Counters;
use crate::failure::{FailureCause, Place};
use crate::input::{Chunk, Format, RecordError};
use crate::mapper::Mapper;
use crate::program::panic;

/// The collector of mapper `M` over store `S`.
pub(crate) struct ChunkMapper<M: Mapper, S> {
    mapper: Arc<M>,
    format: M::Input,
    store: S,
}

impl<M: Mapper, S: Store<M::Key, M::Value>> ChunkMapper<M, S> {
    pub(crate) fn new(mapper: Arc<M>, store: S) -> Self {
        Self { mapper, format: M::Input::default(), store }
    }
}

impl<M: Mapper, S: Store<M::Key, M::Value>> Collector for ChunkMapper<M, S> {
    fn map_chunk(&mut self, chunk: &Chunk<'_>) -> Result<u64, FailureCause> {
        let Self { mapper, format, store } = self;
        let mut records = 0;
        // Of the record that is being mapped, should the mapper panic.
        let mut offset = chunk.offset;
        let outcome = panic::guard(|| {
            format.for_each(chunk, |position, record| {
                records += 1;
                offset = position.offset;
                mapper.map(record, store).map_err(|error| RecordError::new(position, &error))
            })?;
            Ok(store.settle())
        });
        let place = |offset| Place { file: chunk.file.to_string(), offset, ..Place::default() };
        match outcome {
            Ok(Ok(Ok(()))) => Ok(records),
            // Of some record of this chunk; the message says which key it had.
            Ok(Ok(Err(error))) => Err(FailureCause::UserError {
                place: place(None),
                message: error.message().to_string(),
            }),
            Ok(Err(error)) => Err(RecordError::into_failure(error, chunk.file)),
            Err(caught) => Err(caught.into_failure(place(Some(offset)))),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.store.memory_bytes()
    }

    fn next_growth_bytes(&self) -> usize {
        self.store.next_growth_bytes()
    }

    fn take(&mut self) -> Result<Collected, FailureCause> {
        panic::settle(panic::guard(|| self.store.take()), Place::default)
    }

    fn take_counters(&mut self) -> Counters {
        self.store.take_counters()
    }
}
