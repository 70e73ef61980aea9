//! The part of a file that is in memory, and where records begin and end in it.

use std::ops::Range;

use windrow_jobs::FailureCause;
use windrow_jobs::input::{Framing, Unit};

use super::LOOKAHEAD_BYTES;
use super::source::Source;
use crate::task::plan::InputPlan;

/// Bytes of an overlong record that are examined for the cause.
const HINT_BYTES: usize = 4 << 10;

/// A window grows by one part in this many.
const GROWTH_PARTS: u64 = 4;

/// Part of a file in memory.
#[derive(Default)]
pub(super) struct Window {
    /// Only grows, until `limit_memory` drops it; the bytes of the file come first.
    buffer: Vec<u8>,
    offset: u64,
    filled: usize,
}

impl Window {
    /// Where the records that start in `chunk` begin and end. Reads as far as the last of them
    /// takes, but no further than the largest record may be. Tells `admit` how much memory it
    /// needs.
    pub(super) fn find(
        &mut self,
        source: &Source,
        plan: &InputPlan,
        chunk: Range<u64>,
        admit: &mut dyn FnMut(u64) -> Result<(), FailureCause>,
    ) -> Result<Range<u64>, FailureCause> {
        let framing = plan.format.framing;
        let most = plan.record_bytes_max;
        self.offset = chunk.start.saturating_sub(framing.look_behind_bytes());
        self.filled = 0;
        self.extend(source, chunk.end.saturating_add(LOOKAHEAD_BYTES))?;
        let first = self.record_start(source, framing, chunk.start)?;
        let Some(start) = first.filter(|start| *start < chunk.end) else {
            return Ok(chunk.end..chunk.end);
        };
        loop {
            let next = self.record_start(source, framing, chunk.end)?;
            let at_end_of_file = self.end() == source.bytes;
            let end =
                next.or(at_end_of_file.then_some(source.bytes)).map(|end| end.min(source.bytes));
            // The known part of the last record, which may not be all of it.
            let known = end.unwrap_or(self.end());
            // Only then does its start matter.
            let mut last = start;
            if end.is_none() || known - start > most {
                last = framing.last_record_start(self.filled(), self.offset, start, chunk.end);
                if let Some(at) = self.too_long(framing, start..last, most) {
                    return Err(source.too_long(at, most, self.hint(at)));
                }
            }
            if known - last > most {
                return Err(source.too_long(last, most, self.hint(last)));
            }
            match end {
                Some(end) if end <= self.end() => return Ok(start..end),
                Some(end) => {
                    admit(end - self.offset)?;
                    self.extend(source, end)?;
                }
                // Growing steps: a long record is read once and searched a few times, and not much
                // is read beyond it. One byte more than allowed shows that a record is too long.
                None => {
                    let step = match framing.cuts_files() {
                        true => (self.filled as u64 / GROWTH_PARTS).max(LOOKAHEAD_BYTES),
                        false => source.bytes - self.end(),
                    };
                    let enough = last.saturating_add(most).saturating_add(1);
                    let to = self.end().saturating_add(step).min(enough);
                    admit(to - self.offset)?;
                    self.extend(source, to)?;
                }
            }
        }
    }

    /// Reads a unit, which has at most `most` bytes. Tells `admit` how much memory it needs.
    pub(super) fn read_unit(
        &mut self,
        source: &Source,
        unit: &Unit,
        most: u64,
        admit: &mut dyn FnMut(u64) -> Result<(), FailureCause>,
    ) -> Result<&[u8], FailureCause> {
        let bytes = unit.read_bytes();
        if bytes > most {
            return Err(source.unit_too_large(unit, most));
        }
        admit(bytes)?;
        let wanted = bytes as usize;
        self.reserve(wanted);
        (self.offset, self.filled) = (unit.range().start, wanted);
        source.read_unit(unit, &mut self.buffer[..wanted])?;
        Ok(&self.buffer[..wanted])
    }

    /// Makes the buffer at least this long.
    fn reserve(&mut self, bytes: usize) {
        if bytes > self.buffer.len() {
            // Exact: keeping the memory limit matters more than spare capacity.
            self.buffer.reserve_exact(bytes - self.buffer.len());
            self.buffer.resize(bytes, 0);
        }
    }

    /// The first record that starts at `at` or after it; `None` if it starts beyond the window.
    /// Reads on as far as needed to be sure.
    fn record_start(
        &mut self,
        source: &Source,
        framing: Framing,
        at: u64,
    ) -> Result<Option<u64>, FailureCause> {
        let found = framing.record_start(self.filled(), self.offset, at);
        let sure = at.saturating_add(framing.look_ahead_bytes()).min(source.bytes);
        if found.is_some() || self.end() >= sure {
            return Ok(found);
        }
        self.extend(source, sure)?;
        Ok(framing.record_start(self.filled(), self.offset, at))
    }

    /// Where a record of more than `most` bytes starts, of those that start in this range and end
    /// within it. Records are checked one by one only where chunks are larger than the limit.
    fn too_long(&self, framing: Framing, range: Range<u64>, most: u64) -> Option<u64> {
        let mut at = range.start;
        while range.end - at > most {
            let next = framing.record_start(self.filled(), self.offset, at + 1);
            let next = next.filter(|next| *next <= range.end)?;
            if next - at > most {
                return Some(at);
            }
            at = next;
        }
        None
    }

    /// A likely reason why no line ends are found in the bytes from `start` on.
    fn hint(&self, start: u64) -> &'static str {
        let window = self.filled();
        let at = usize::try_from(start - self.offset).unwrap_or(usize::MAX).min(window.len());
        let sample = &window[at..window.len().min(at + HINT_BYTES)];
        let count = |wanted: u8| sample.iter().filter(|byte| **byte == wanted).count();
        if count(0) > sample.len() / 4 {
            "; it looks like UTF-16 rather than UTF-8: convert it first (iconv -f UTF-16 -t UTF-8)"
        } else if count(b'\r') > 0 && count(b'\n') == 0 {
            "; its lines seem to end in CR alone: convert it first (tr '\\r' '\\n')"
        } else {
            ""
        }
    }

    /// Reads on until the window ends at `to`, or at the end of the file.
    fn extend(&mut self, source: &Source, to: u64) -> Result<(), FailureCause> {
        let wanted = (to.min(source.bytes).saturating_sub(self.offset)) as usize;
        if wanted > self.filled {
            self.reserve(wanted);
            let end = self.end();
            source.read(&mut self.buffer[self.filled..wanted], end)?;
            self.filled = wanted;
        }
        Ok(())
    }

    fn end(&self) -> u64 {
        self.offset + self.filled as u64
    }

    fn filled(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    pub(super) fn bytes(&self, range: Range<u64>) -> &[u8] {
        if range.is_empty() {
            return &[];
        }
        &self.buffer[(range.start - self.offset) as usize..(range.end - self.offset) as usize]
    }

    /// Frees the memory of an unusually long record.
    pub(super) fn limit_memory(&mut self, bytes: u64) {
        if self.buffer.len() as u64 > bytes {
            self.buffer = Vec::new();
        }
    }

    /// Memory that it takes up.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.buffer.capacity() as u64
    }
}
