//! Keeps one accumulator per key: the store of jobs with a combiner.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::key_table::KeyTable;
use super::{Collected, RecordBuffer, Store};
use crate::combiner::Combiner;
use crate::counters::{Counters, LocalCounters};
use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::partitioner::{Partitioner, partition_of};
use crate::program::RecordRef;
use crate::value::Value;

/// Combines values in place. Keys are partitioned only when they are taken, once per distinct key.
pub(crate) struct CombineStore<K: ?Sized, V: Value + ?Sized, C: Combiner<V>, P> {
    table: KeyTable<C::Accumulator>,
    scratch: Vec<u8>,
    combiner: Arc<C>,
    partitioner: Arc<P>,
    partitions: u32,
    counters: LocalCounters,
    pair: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: Value + ?Sized, C: Combiner<V>, P> CombineStore<K, V, C, P> {
    pub(crate) fn new(combiner: Arc<C>, partitioner: Arc<P>, partitions: u32) -> Self {
        Self {
            table: KeyTable::default(),
            scratch: Vec::new(),
            combiner,
            partitioner,
            partitions,
            counters: LocalCounters::default(),
            pair: PhantomData,
        }
    }
}

impl<K, V, C, P> Emit<K, V> for CombineStore<K, V, C, P>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    C: Combiner<V>,
    P: Partitioner,
{
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        let key = K::encoded(key, &mut self.scratch);
        let probe = self.table.probe(key);
        match self.table.find(probe) {
            Some(accumulator) => self.combiner.add(accumulator, value),
            None => self.table.insert(probe, self.combiner.start(value)?),
        }
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.counters.add(counter, n);
    }
}

impl<K, V, C, P> Store<K, V> for CombineStore<K, V, C, P>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    C: Combiner<V>,
    P: Partitioner,
{
    fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.scratch.capacity()
    }

    fn take(&mut self) -> Result<Collected> {
        let table = mem::take(&mut self.table);
        let mut buffer = RecordBuffer::new(self.partitions);
        for (key, accumulator) in table.iter() {
            let value = V::encoded(self.combiner.finish(accumulator), &mut self.scratch)?;
            let partition = partition_of(&*self.partitioner, key, self.partitions)?;
            buffer.push(partition, RecordRef { key, value })?;
        }
        Ok(Collected::Pairs(buffer))
    }

    fn take_counters(&mut self) -> Counters {
        self.counters.take()
    }
}
