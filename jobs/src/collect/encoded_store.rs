//! The store of map-only jobs, which encodes pairs as output at once.

use std::mem;
use std::sync::Arc;

use super::Sections;
use super::{Collected, Store};
use crate::counters::LocalCounters;
use crate::error::Result;
use crate::key::Key;
use crate::output::{Output, Section, SectionEncoder, SummaryOf};
use crate::value::Value;

/// Memory is requested in steps of this many bytes.
const STEP_BYTES: usize = 256 << 10;

/// Finished output in input order, in whole sections. It is taken after each chunk, and earlier
/// when the output of one chunk exceeds the memory budget.
pub(crate) struct EncodedStore<K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> {
    output: Arc<O>,
    section: O::Section,
    /// The offset of the section, and the number of pairs before it.
    section_start: (u64, u64),
    /// The finished sections.
    sections: Vec<Section<SummaryOf<O::Section, K, V>>>,
    bytes: Vec<u8>,
    /// The memory that was last granted.
    granted_bytes: usize,
    records: u64,
    counters: LocalCounters,
}

impl<K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> EncodedStore<K, V, O> {
    pub(crate) fn new(output: Arc<O>) -> Self {
        let (section_start, sections, bytes, records, counters) = Default::default();
        let (section, granted_bytes) = (output.section(), STEP_BYTES);
        Self { output, section, section_start, sections, bytes, granted_bytes, records, counters }
    }

    #[inline]
    fn taken_up_bytes(&self) -> usize {
        self.bytes.len() + self.section.held_bytes()
    }

    /// Ends the section unless it is empty.
    fn end_section(&mut self) -> Result<()> {
        let (offset, records_before) = self.section_start;
        let records = self.records - records_before;
        if records == 0 {
            return Ok(());
        }
        let section = mem::replace(&mut self.section, self.output.section());
        let summary = section.finish(&mut self.bytes)?;
        let end = self.bytes.len() as u64;
        self.section_start = (end, self.records);
        self.sections.push(Section::new(offset, end - offset, records, summary));
        Ok(())
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> Store<K, V> for EncodedStore<K, V, O> {
    #[inline]
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<bool> {
        self.section.write(key, value, &mut self.bytes)?;
        self.records += 1;
        Ok(self.taken_up_bytes() > self.granted_bytes || self.section.is_full())
    }

    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<usize> {
        let before = self.taken_up_bytes();
        let (mark, start) = (self.section.mark(), self.bytes.len());
        let written = self.section.write(key, value, &mut self.bytes);
        let after = self.taken_up_bytes();
        self.section.undo(mark);
        self.bytes.truncate(start);
        written.map(|()| after.saturating_sub(before))
    }

    fn settle(&mut self) -> Result<()> {
        if self.section.is_full() {
            self.end_section()?;
        }
        let taken_up_bytes = self.taken_up_bytes();
        if taken_up_bytes > self.granted_bytes {
            self.granted_bytes = taken_up_bytes + STEP_BYTES;
        }
        Ok(())
    }

    fn wanted_bytes(&self) -> usize {
        self.granted_bytes
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.section.held_bytes()
    }

    fn take(&mut self) -> Result<Collected> {
        self.end_section()?;
        self.granted_bytes = STEP_BYTES;
        self.section_start = (0, 0);
        let sections = Sections::new(mem::take(&mut self.sections));
        let (bytes, records) = (mem::take(&mut self.bytes), mem::take(&mut self.records));
        Ok(Collected::Output { bytes, records, sections })
    }

    fn counters(&mut self) -> &mut LocalCounters {
        &mut self.counters
    }
}
