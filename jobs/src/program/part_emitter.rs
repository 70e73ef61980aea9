//! Where reducers put their output: encoded, and written many pairs at a time.

use super::batch::PartSink;
use super::groups::hidden;
use super::panic;
use crate::counters::{Counters, LocalCounters};
use crate::emit::Emit;
use crate::error::Result;
use crate::failure::{FailureCause, RecordPlace};
use crate::key::Key;
use crate::output::{Output, PartEncoder, PartInfo, Section, SectionEncoder};
use crate::value::Value;

/// Encoded bytes are handed to the sink once there are so many.
const WRITE_BYTES: usize = 256 << 10;

/// Most that a group may have written and can still be taken back.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// The emitter of one reduce task.
pub(super) struct PartEmitter<'s, K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> {
    sink: &'s mut dyn PartSink,
    output: &'s O,
    part: O::Part,
    section: O::Section,
    /// Where the section begins, and the pairs before it.
    section_start: (u64, u64),
    /// Encoded, and not yet written.
    bytes: Vec<u8>,
    /// Bytes are handed on when there are so many.
    write_bytes: usize,
    written_bytes: u64,
    records: u64,
    counters: LocalCounters,
    /// Of the groups that are kept.
    kept_counters: Counters,
    failure: Option<FailureCause>,
    /// What was before the group, as long as it can be taken back.
    group: Option<Mark<<O::Section as SectionEncoder<K, V>>::Mark>>,
}

/// A place in a part to come back to.
struct Mark<M> {
    bytes: usize,
    records: u64,
    section: M,
}

impl<'s, K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> PartEmitter<'s, K, V, O> {
    /// Begins the part.
    pub(super) fn new(
        sink: &'s mut dyn PartSink,
        output: &'s O,
        part: PartInfo,
    ) -> Result<Self, FailureCause> {
        let mut bytes = Vec::new();
        let begun = || Ok((output.begin(part, &mut bytes)?, output.section()));
        let (part, section) = panic::settle(panic::guard(begun), RecordPlace::default)?;
        Ok(Self {
            sink,
            output,
            part,
            section,
            section_start: (bytes.len() as u64, 0),
            bytes,
            write_bytes: WRITE_BYTES,
            written_bytes: 0,
            records: 0,
            counters: LocalCounters::default(),
            kept_counters: Counters::default(),
            failure: None,
            group: None,
        })
    }

    /// From here on what is emitted and counted can be [taken back](Self::take_back), until it is
    /// more than eight megabytes.
    pub(super) fn begin_group(&mut self) -> Result<(), FailureCause> {
        self.write_bytes = self.bytes.len() + GROUP_BYTES_MAX;
        let mark = panic::guard(|| Ok(self.section.mark()));
        let section = panic::settle(mark, RecordPlace::default)?;
        self.group = Some(Mark { bytes: self.bytes.len(), records: self.records, section });
        Ok(())
    }

    /// Keeps what came since the group began.
    pub(super) fn keep_group(&mut self) -> Result<(), FailureCause> {
        self.forget_mark();
        self.kept_counters.merge(&self.counters.take());
        let outcome = panic::guard(|| self.move_on());
        self.take_failure().map_or(Ok(()), Err)?;
        panic::settle(outcome, RecordPlace::default)
    }

    /// Forgets what came since the group began; `false` if some of it has been written.
    pub(super) fn take_back(&mut self) -> Result<bool, FailureCause> {
        let Some(Mark { bytes, records, section }) = self.group.take() else { return Ok(false) };
        let undone = panic::guard(|| {
            self.section.undo(section);
            Ok(())
        });
        panic::settle(undone, RecordPlace::default)?;
        self.bytes.truncate(bytes);
        self.records = records;
        self.counters.take();
        Ok(true)
    }

    /// What the sink failed with. It goes before anything that user code made of it.
    pub(super) fn take_failure(&mut self) -> Option<FailureCause> {
        self.failure.take()
    }

    /// Ends the part, and returns the number of pairs and the counters.
    pub(super) fn finish(mut self) -> Result<(u64, Counters), FailureCause> {
        let outcome = panic::guard(|| self.end_section());
        self.take_failure().map_or(Ok(()), Err)?;
        panic::settle(outcome, RecordPlace::default)?;
        let Self { sink, part, mut bytes, records, mut counters, mut kept_counters, .. } = self;
        let outcome = panic::guard(|| part.finish(&mut bytes));
        panic::settle(outcome, RecordPlace::default)?;
        if !bytes.is_empty() {
            sink.write(&bytes)?;
        }
        kept_counters.merge(&counters.take());
        Ok((records, kept_counters))
    }

    /// There is much to be written, or the section is full.
    #[cold]
    fn hand_on(&mut self) -> Result<()> {
        // A sink that has failed is not asked again, even if user code goes on after the error.
        if let Some(cause) = &self.failure {
            return Err(hidden(cause));
        }
        if self.group.is_some() && self.bytes.len() + self.section.held_bytes() < self.write_bytes {
            // The mark is of this section: it grows on, though it is full.
            return Ok(());
        }
        self.forget_mark();
        self.move_on()
    }

    fn forget_mark(&mut self) {
        self.group = None;
        self.write_bytes = WRITE_BYTES;
    }

    /// Ends the section if it is full, and writes what is ready if that is much. What fails is
    /// found in `failure`.
    fn move_on(&mut self) -> Result<()> {
        if self.section.is_full() {
            self.end_section()?;
        }
        if self.bytes.len() < WRITE_BYTES {
            return Ok(());
        }
        let written = self.sink.write(&self.bytes);
        self.written_bytes += self.bytes.len() as u64;
        self.bytes.clear();
        // What a large pair took is not kept: it would be as much again as the pair itself.
        self.bytes.shrink_to(2 * WRITE_BYTES);
        written.map_err(|cause| hidden(self.failure.insert(cause)))
    }

    /// Ends the section, unless there is nothing in it. An error is not the current group's fault:
    /// it is found in `failure`, and the section is lost.
    fn end_section(&mut self) -> Result<()> {
        let (offset, records_before) = self.section_start;
        let records = self.records - records_before;
        if records == 0 {
            return Ok(());
        }
        let section = std::mem::replace(&mut self.section, self.output.section());
        let ended = section.finish(&mut self.bytes).and_then(|summary| {
            let end = self.written_bytes + self.bytes.len() as u64;
            self.section_start = (end, self.records);
            self.part.append(Section::new(offset, end - offset, records, summary))
        });
        ended.inspect_err(|error| {
            let (place, message) = (RecordPlace::default(), error.message().to_string());
            self.failure = Some(FailureCause::UserError { place, message });
        })
    }
}

impl<K, V, O> Emit<K, V> for PartEmitter<'_, K, V, O>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    O: Output<K, V>,
{
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        self.section.write(key, value, &mut self.bytes)?;
        self.records += 1;
        if self.bytes.len() >= self.write_bytes || self.section.is_full() {
            self.hand_on()
        } else {
            Ok(())
        }
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.counters.add(counter, n);
    }
}
