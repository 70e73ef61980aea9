//! Keeps every pair: the store of jobs without a combiner.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::{Collected, RecordBuffer, Store};
use crate::counters::{Counters, LocalCounters};
use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::partitioner::{Partitioner, partition_of};
use crate::program::RecordRef;
use crate::value::Value;

/// Appends encoded pairs to a [`RecordBuffer`].
pub(crate) struct AppendStore<K: ?Sized, V: ?Sized, P> {
    buffer: RecordBuffer,
    key: Vec<u8>,
    value: Vec<u8>,
    partitioner: Arc<P>,
    partitions: u32,
    counters: LocalCounters,
    pair: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized, P> AppendStore<K, V, P> {
    pub(crate) fn new(partitioner: Arc<P>, partitions: u32) -> Self {
        Self {
            buffer: RecordBuffer::new(partitions),
            key: Vec::new(),
            value: Vec::new(),
            partitioner,
            partitions,
            counters: LocalCounters::default(),
            pair: PhantomData,
        }
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, P: Partitioner> Emit<K, V> for AppendStore<K, V, P> {
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        let key = K::encoded(key, &mut self.key);
        let value = V::encoded(value, &mut self.value)?;
        let partition = partition_of(&*self.partitioner, key, self.partitions)?;
        self.buffer.push(partition, RecordRef { key, value })
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.counters.add(counter, n);
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, P: Partitioner> Store<K, V> for AppendStore<K, V, P> {
    fn memory_bytes(&self) -> usize {
        self.buffer.memory_bytes() + self.key.capacity() + self.value.capacity()
    }

    fn take(&mut self) -> Result<Collected> {
        (self.key, self.value) = Default::default();
        Ok(Collected::Pairs(mem::replace(&mut self.buffer, RecordBuffer::new(self.partitions))))
    }

    fn take_counters(&mut self) -> Counters {
        self.counters.take()
    }
}
