//! Keeps one accumulator per key: the store of jobs with a combiner.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::key_table::KeyTable;
use super::{Collected, RecordBuffer, Store};
use crate::combiner::Combiner;
use crate::counters::LocalCounters;
use crate::error::Result;
use crate::key::Key;
use crate::program::{RecordRef, Route};
use crate::value::Value;

/// Combines values in place. Keys are partitioned only when they are taken, once per distinct key.
pub(crate) struct CombineStore<K: ?Sized, V: Value + ?Sized, C: Combiner<V>, T> {
    table: KeyTable<C::Accumulator>,
    scratch: Vec<u8>,
    combiner: Arc<C>,
    partitions: u32,
    route: T,
    counters: LocalCounters,
    pair: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: Value + ?Sized, C: Combiner<V>, T> CombineStore<K, V, C, T> {
    pub(crate) fn new(combiner: Arc<C>, partitions: u32, route: T) -> Self {
        Self {
            table: KeyTable::default(),
            scratch: Vec::new(),
            combiner,
            partitions,
            route,
            counters: LocalCounters::default(),
            pair: PhantomData,
        }
    }
}

impl<K, V, C, T> Store<K, V> for CombineStore<K, V, C, T>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    C: Combiner<V>,
    T: Route,
{
    #[inline]
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<()> {
        let key = K::encoded(key, &mut self.scratch);
        let probe = self.table.probe(key);
        match self.table.find(probe) {
            Some(accumulator) => self.combiner.add(accumulator, value),
            None => self.table.insert(probe, self.combiner.start(value)?),
        }
    }

    fn wanted_bytes(&self) -> usize {
        Store::<K, V>::memory_bytes(self)
    }

    fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.scratch.capacity()
    }

    fn take(&mut self) -> Result<Collected> {
        let table = mem::take(&mut self.table);
        let mut buffer = RecordBuffer::new(self.partitions);
        for (key, accumulator) in table.iter() {
            let value = V::encoded(self.combiner.finish(accumulator), &mut self.scratch)?;
            let record = RecordRef { key, value };
            buffer.push(self.route.route(record, 0)?, record)?;
        }
        Ok(Collected::Pairs(buffer))
    }

    fn counters(&mut self) -> &mut LocalCounters {
        &mut self.counters
    }
}
