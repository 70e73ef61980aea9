//! Where reducers put their output: lines, written many at a time.

use super::batch::PartSink;
use super::groups::hidden;
use crate::counters::{Counters, LocalCounters};
use crate::emit::Emit;
use crate::error::Result;
use crate::failure::FailureCause;
use crate::key::Key;
use crate::output::Output;
use crate::value::Value;

/// Text is handed to the sink once there is this much.
const WRITE_BYTES: usize = 256 << 10;

/// The emitter of one reduce task.
pub(super) struct PartEmitter<'s, O> {
    sink: &'s mut dyn PartSink,
    output: &'s O,
    text: Vec<u8>,
    records: u64,
    counters: LocalCounters,
    failure: Option<FailureCause>,
}

impl<'s, O> PartEmitter<'s, O> {
    pub(super) fn new(sink: &'s mut dyn PartSink, output: &'s O) -> Self {
        let (text, records, counters, failure) = Default::default();
        Self { sink, output, text, records, counters, failure }
    }

    /// What the sink failed with. It goes before anything that user code made of it.
    pub(super) fn take_failure(&mut self) -> Option<FailureCause> {
        self.failure.take()
    }

    /// Writes what is left, and returns the number of pairs and the counters.
    pub(super) fn finish(mut self) -> Result<(u64, Counters), FailureCause> {
        if !self.text.is_empty() {
            self.sink.write(&self.text)?;
        }
        Ok((self.records, self.counters.take()))
    }

    fn write(&mut self) -> Result<()> {
        // A sink that has failed is not asked again, even if user code goes on after the error.
        if let Some(cause) = &self.failure {
            return Err(hidden(cause));
        }
        let written = self.sink.write(&self.text);
        self.text.clear();
        // What a large pair took is not kept: it would be as much again as the pair itself.
        self.text.shrink_to(2 * WRITE_BYTES);
        written.map_err(|cause| hidden(self.failure.insert(cause)))
    }
}

impl<K, V, O> Emit<K, V> for PartEmitter<'_, O>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    O: Output<K, V>,
{
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        self.output.write(key, value, &mut self.text)?;
        self.records += 1;
        if self.text.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.counters.add(counter, n);
    }
}
