//! Keeps every pair: the store of jobs without a combiner.

use std::marker::PhantomData;
use std::mem;

use super::{Collected, RecordBuffer, Store};
use crate::counters::LocalCounters;
use crate::error::Result;
use crate::key::Key;
use crate::program::Route;
use crate::value::Value;

/// Appends encoded pairs to a [`RecordBuffer`].
pub(crate) struct AppendStore<K: ?Sized, V: ?Sized, T> {
    buffer: RecordBuffer,
    route: T,
    counters: LocalCounters,
    pair: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized, T> AppendStore<K, V, T> {
    pub(crate) fn new(route: T) -> Self {
        let (buffer, counters) = Default::default();
        Self { buffer, route, counters, pair: PhantomData }
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, T: Route> Store<K, V> for AppendStore<K, V, T> {
    #[inline]
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, salt: u64) -> Result<()> {
        self.buffer.push(
            |out| K::encode(key, out),
            |out| V::encode(value, out),
            |record| self.route.route(record, salt),
        )
    }

    fn wanted_bytes(&self) -> usize {
        self.buffer.memory_bytes()
    }

    fn memory_bytes(&self) -> usize {
        self.buffer.memory_bytes()
    }

    fn take(&mut self) -> Result<Collected> {
        Ok(Collected::Pairs(mem::take(&mut self.buffer)))
    }

    fn counters(&mut self) -> &mut LocalCounters {
        &mut self.counters
    }
}
