//! Writes pairs as lines at once: the store of map-only jobs.

use std::mem;

use super::{Collected, Store};
use crate::counters::{Counters, LocalCounters};
use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::text;
use crate::value::Value;

/// Finished lines in input order.
#[derive(Default)]
pub(crate) struct TextStore {
    bytes: Vec<u8>,
    records: u64,
    counters: LocalCounters,
}

impl<K: Key + ?Sized, V: Value + ?Sized> Emit<K, V> for TextStore {
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        text::write_pair::<K, V>(key, value, &mut self.bytes)?;
        self.records += 1;
        Ok(())
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.counters.add(counter, n);
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> Store<K, V> for TextStore {
    fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn take(&mut self) -> Result<Collected> {
        let records = mem::take(&mut self.records);
        Ok(Collected::Text { bytes: mem::take(&mut self.bytes), records })
    }

    fn take_counters(&mut self) -> Counters {
        self.counters.take()
    }
}
