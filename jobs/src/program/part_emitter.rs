//! The emitter of a reduce task: encodes pairs, and writes many at a time.

use super::part_sink::PartSink;
use crate::counters::{Counters, LocalCounters};
use crate::emit::Emit;
use crate::error::{Error, Result};
use crate::failure::{FailureCause, RecordPlace};
use crate::key::Key;
use crate::output::{Output, PartEncoder, PartInfo, Section, SectionEncoder, check_appended};
use crate::user_code::{UNDONE_BYTES_MAX, hidden, panic};
use crate::value::Value;

/// Encoded bytes are passed to the sink in chunks of about this size.
const WRITE_BYTES: usize = 256 << 10;

/// The emitter of one reduce task.
pub(super) struct PartEmitter<'s, K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> {
    sink: &'s mut dyn PartSink,
    output: &'s O,
    part: O::Part,
    section: O::Section,
    /// The offset of the section, and the number of pairs before it.
    section_start: (u64, u64),
    /// Encoded bytes that are not written yet.
    bytes: Vec<u8>,
    /// How many bytes are collected before they are written.
    write_bytes: usize,
    written_bytes: u64,
    records: u64,
    counters: LocalCounters,
    /// The counters of all groups that are kept.
    kept_counters: Counters,
    failure: Option<FailureCause>,
    /// The state before the current group, as long as the group can be undone.
    group: Option<Mark<<O::Section as SectionEncoder<K, V>>::Mark>>,
}

/// A state of the part that can be restored.
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

    /// Begins a group whose pairs and counts can be [undone](Self::take_back), until they exceed
    /// eight megabytes.
    pub(super) fn begin_group(&mut self) -> Result<(), FailureCause> {
        self.write_bytes = self.bytes.len() + UNDONE_BYTES_MAX;
        let mark = panic::guard(|| Ok(self.section.mark()));
        let section = panic::settle(mark, RecordPlace::default)?;
        self.group = Some(Mark { bytes: self.bytes.len(), records: self.records, section });
        Ok(())
    }

    /// Keeps what the group has emitted.
    pub(super) fn keep_group(&mut self) -> Result<(), FailureCause> {
        self.forget_mark();
        self.kept_counters.merge(&self.counters.take());
        let outcome = panic::guard(|| self.move_on());
        self.take_failure().map_or(Ok(()), Err)?;
        panic::settle(outcome, RecordPlace::default)
    }

    /// Undoes what the group has emitted; `false` if some of it has already been written.
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

    /// The failure of the sink, which takes precedence over any error that user code returned
    /// because of it.
    pub(super) fn take_failure(&mut self) -> Option<FailureCause> {
        self.failure.take()
    }

    /// Ends the part, and returns its number of pairs and its counters.
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

    /// Called when enough bytes are collected, or the section is full.
    #[cold]
    fn hand_on(&mut self) -> Result<()> {
        // A sink that has failed is not called again, even if user code ignores the error.
        if let Some(cause) = &self.failure {
            return Err(hidden(cause));
        }
        if self.group.is_some() && self.bytes.len() + self.section.held_bytes() < self.write_bytes {
            // The mark belongs to this section, so the section goes on although it is full.
            return Ok(());
        }
        self.forget_mark();
        self.move_on()
    }

    /// Notes an error that has lost pairs of other groups: it fails the attempt, whatever user code
    /// does with it.
    #[cold]
    fn lost(&mut self, error: Error) -> Error {
        let (place, message) = (RecordPlace::default(), error.message().to_string());
        self.failure = Some(FailureCause::UserError { place, message });
        error
    }

    fn forget_mark(&mut self) {
        self.group = None;
        self.write_bytes = WRITE_BYTES;
    }

    /// Ends the section if it is full, and writes the collected bytes if there are enough. An error
    /// is stored in `failure`.
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
        // The memory of a large pair is not kept: it would double what the pair takes up.
        self.bytes.shrink_to(2 * WRITE_BYTES);
        written.map_err(|cause| hidden(self.failure.insert(cause)))
    }

    /// Ends the section unless it is empty. An error is not the current group's fault: it is stored
    /// in `failure`, and the section is lost.
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
        ended.map_err(|error| self.lost(error))
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
        let before = self.bytes.len();
        self.section.write(key, value, &mut self.bytes)?;
        if let Err(error) = check_appended(before, self.bytes.len()) {
            return Err(self.lost(error));
        }
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
