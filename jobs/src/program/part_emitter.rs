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

/// Most text of a group that can still be taken back.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// The emitter of one reduce task.
pub(super) struct PartEmitter<'s, O> {
    sink: &'s mut dyn PartSink,
    output: &'s O,
    text: Vec<u8>,
    /// Text is handed on when there is this much.
    write_bytes: usize,
    records: u64,
    counters: LocalCounters,
    /// Of the groups that are kept.
    kept_counters: Counters,
    failure: Option<FailureCause>,
    /// Text and records before the group, as long as it can be taken back.
    group: Option<(usize, u64)>,
}

impl<'s, O> PartEmitter<'s, O> {
    pub(super) fn new(sink: &'s mut dyn PartSink, output: &'s O) -> Self {
        Self {
            sink,
            output,
            text: Vec::new(),
            write_bytes: WRITE_BYTES,
            records: 0,
            counters: LocalCounters::default(),
            kept_counters: Counters::default(),
            failure: None,
            group: None,
        }
    }

    /// From here on what is emitted and counted can be [taken back](Self::take_back), until it is
    /// more than eight megabytes.
    pub(super) fn begin_group(&mut self) {
        self.write_bytes = self.text.len() + GROUP_BYTES_MAX;
        self.group = Some((self.text.len(), self.records));
    }

    /// Keeps what came since the group began.
    pub(super) fn keep_group(&mut self) -> Result<(), FailureCause> {
        self.group = None;
        self.kept_counters.merge(&self.counters.take());
        if self.text.len() >= WRITE_BYTES {
            // What it says is found in `failure`.
            let _ = self.write();
        }
        self.take_failure().map_or(Ok(()), Err)
    }

    /// Forgets what came since the group began; `false` if some of it has been written.
    pub(super) fn take_back(&mut self) -> bool {
        let Some((text_bytes, records)) = self.group.take() else { return false };
        self.text.truncate(text_bytes);
        self.records = records;
        self.counters.take();
        true
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
        self.kept_counters.merge(&self.counters.take());
        Ok((self.records, self.kept_counters))
    }

    fn write(&mut self) -> Result<()> {
        // A sink that has failed is not asked again, even if user code goes on after the error.
        if let Some(cause) = &self.failure {
            return Err(hidden(cause));
        }
        self.group = None;
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
        if self.text.len() >= self.write_bytes { self.write() } else { Ok(()) }
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.counters.add(counter, n);
    }
}
