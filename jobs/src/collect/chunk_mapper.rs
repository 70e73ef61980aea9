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
            })
        });
        match outcome {
            Ok(Ok(())) => Ok(records),
            Ok(Err(error)) => Err(error.into_failure(chunk.file)),
            Err(caught) => Err(caught.into_failure(Place {
                file: chunk.file.to_string(),
                offset: Some(offset),
                ..Place::default()
            })),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.store.memory_bytes()
    }

    fn take(&mut self) -> Result<Collected, FailureCause> {
        panic::settle(panic::guard(|| self.store.take()), Place::default)
    }

    fn take_counters(&mut self) -> Counters {
        self.store.take_counters()
    }
}
