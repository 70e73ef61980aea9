//! Writes pairs as output at once: the store of map-only jobs.

use std::mem;
use std::sync::Arc;

use super::{Collected, Store};
use crate::counters::LocalCounters;
use crate::error::Result;
use crate::key::Key;
use crate::output::Output;
use crate::value::Value;

/// Room is asked for in steps of so many bytes.
const STEP_BYTES: usize = 256 << 10;

/// Finished output in input order. It is taken after each chunk, and before where one chunk gives
/// more than there is room for.
pub(crate) struct TextStore<O> {
    output: Arc<O>,
    bytes: Vec<u8>,
    /// Length up to which there is room.
    roomy_bytes: usize,
    records: u64,
    counters: LocalCounters,
}

impl<O> TextStore<O> {
    pub(crate) fn new(output: Arc<O>) -> Self {
        let (bytes, counters) = Default::default();
        Self { output, bytes, roomy_bytes: STEP_BYTES, records: 0, counters }
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> Store<K, V> for TextStore<O> {
    #[inline]
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<bool> {
        self.output.write(key, value, &mut self.bytes)?;
        self.records += 1;
        Ok(self.bytes.len() > self.roomy_bytes)
    }

    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<usize> {
        let start = self.bytes.len();
        self.output.write(key, value, &mut self.bytes)?;
        let bytes = self.bytes.len() - start;
        self.bytes.truncate(start);
        Ok(bytes)
    }

    fn settle(&mut self) -> Result<()> {
        self.roomy_bytes = self.bytes.len() + STEP_BYTES;
        Ok(())
    }

    fn wanted_bytes(&self) -> usize {
        self.roomy_bytes
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn take(&mut self) -> Result<Collected> {
        self.roomy_bytes = STEP_BYTES;
        let records = mem::take(&mut self.records);
        Ok(Collected::Text { bytes: mem::take(&mut self.bytes), records })
    }

    fn counters(&mut self) -> &mut LocalCounters {
        &mut self.counters
    }
}
