//! The store of jobs without a combiner, which keeps every pair.

use std::marker::PhantomData;
use std::mem;

use super::{Collected, RecordBuffer, Store};
use crate::counters::LocalCounters;
use crate::error::Result;
use crate::key::Key;
use crate::pairs::RecordRef;
use crate::partitioning::Route;
use crate::value::Value;

/// Appends encoded pairs to a [`RecordBuffer`].
pub(crate) struct AppendStore<K: ?Sized, V: ?Sized, T> {
    buffer: RecordBuffer,
    /// Memory of the buffer after the last pair.
    known_bytes: usize,
    /// Scratch for encodings that differ from the emitted bytes.
    key: Vec<u8>,
    value: Vec<u8>,
    route: T,
    counters: LocalCounters,
    pair: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized, T> AppendStore<K, V, T> {
    pub(crate) fn new(partitions: u32, route: T) -> Self {
        let (key, value, counters) = Default::default();
        let buffer = RecordBuffer::new(partitions);
        Self { buffer, known_bytes: 0, key, value, route, counters, pair: PhantomData }
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, T: Route> Store<K, V> for AppendStore<K, V, T> {
    #[inline]
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, salt: u64) -> Result<bool> {
        let key = K::encoded(key, &mut self.key);
        let value = V::encoded(value, &mut self.value)?;
        let record = RecordRef { key, value };
        self.buffer.push(self.route.route(record, salt)?, record)?;
        let has_grown = self.buffer.memory_bytes() > self.known_bytes;
        self.known_bytes = self.buffer.memory_bytes();
        Ok(has_grown)
    }

    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, salt: u64) -> Result<usize> {
        let key = K::encoded(key, &mut self.key);
        let value = V::encoded(value, &mut self.value)?;
        self.route.route(RecordRef { key, value }, salt)?;
        Ok(key.len() + value.len())
    }

    #[inline]
    fn wanted_bytes(&self) -> usize {
        self.buffer.memory_bytes()
    }

    fn memory_bytes(&self) -> usize {
        self.buffer.memory_bytes() + self.key.capacity() + self.value.capacity()
    }

    fn take(&mut self) -> Result<Collected> {
        (self.key, self.value, self.known_bytes) = Default::default();
        let empty = RecordBuffer::new(self.buffer.partitions());
        Ok(Collected::Pairs(mem::replace(&mut self.buffer, empty)))
    }

    fn reuse(&mut self, buffer: RecordBuffer) {
        self.known_bytes = buffer.memory_bytes();
        self.buffer = buffer;
    }

    fn counters(&mut self) -> &mut LocalCounters {
        &mut self.counters
    }
}
