//! Writes pairs as output at once: the store of map-only jobs.

use std::mem;
use std::sync::Arc;

use super::{Collected, Store};
use crate::counters::LocalCounters;
use crate::error::Result;
use crate::key::Key;
use crate::output::Output;
use crate::value::Value;

/// Finished output in input order. Its memory is not asked for: it is taken after each chunk.
pub(crate) struct TextStore<O> {
    output: Arc<O>,
    bytes: Vec<u8>,
    records: u64,
    counters: LocalCounters,
}

impl<O> TextStore<O> {
    pub(crate) fn new(output: Arc<O>) -> Self {
        Self { output, bytes: Vec::new(), records: 0, counters: LocalCounters::default() }
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> Store<K, V> for TextStore<O> {
    #[inline]
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<bool> {
        self.output.write(key, value, &mut self.bytes)?;
        self.records += 1;
        Ok(false)
    }

    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<usize> {
        let start = self.bytes.len();
        self.output.write(key, value, &mut self.bytes)?;
        let bytes = self.bytes.len() - start;
        self.bytes.truncate(start);
        Ok(bytes)
    }

    fn wanted_bytes(&self) -> usize {
        0
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn take(&mut self) -> Result<Collected> {
        let records = mem::take(&mut self.records);
        Ok(Collected::Text { bytes: mem::take(&mut self.bytes), records })
    }

    fn counters(&mut self) -> &mut LocalCounters {
        &mut self.counters
    }
}
