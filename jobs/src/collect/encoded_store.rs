//! The store of map-only jobs, which encodes pairs as output at once.

use std::mem;
use std::sync::Arc;

use super::Sections;
use super::{Collected, Store};
use crate::counters::LocalCounters;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::output::{Output, Section, SectionEncoder, SummaryOf, check_appended};
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
    trial: Trial<<O::Section as SectionEncoder<K, V>>::Mark>,
    /// The encoder has removed bytes of other pairs, whatever user code made of that error.
    lost: Option<Error>,
    /// The memory that was last granted.
    granted_bytes: usize,
    records: u64,
    counters: LocalCounters,
}

/// A pair that is written to see whether it can be.
struct Trial<M> {
    /// The state before it, until it is undone: later, if `write` has panicked.
    mark: Option<M>,
    bytes: Vec<u8>,
}

impl<K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>> EncodedStore<K, V, O> {
    pub(crate) fn new(output: Arc<O>) -> Self {
        let (section_start, sections, bytes, records, counters) = Default::default();
        let (section, granted_bytes) = (output.section(), STEP_BYTES);
        Self {
            output,
            section,
            section_start,
            sections,
            bytes,
            trial: Trial { mark: None, bytes: Vec::new() },
            lost: None,
            granted_bytes,
            records,
            counters,
        }
    }

    /// Undoes a trial, whose `write` may have panicked.
    fn end_trial(&mut self) {
        if let Some(mark) = self.trial.mark.take() {
            self.section.undo(mark);
        }
        self.trial.bytes.clear();
    }

    #[cold]
    fn note_lost(&mut self, error: Error) -> Error {
        let again = Error::new(error.message());
        self.lost = Some(error);
        again
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
        debug_assert!(self.trial.mark.is_none(), "a pair is tried, or written");
        let before = self.bytes.len();
        self.section.write(key, value, &mut self.bytes)?;
        if let Err(error) = check_appended(before, self.bytes.len()) {
            return Err(self.note_lost(error));
        }
        self.records += 1;
        Ok(self.taken_up_bytes() > self.granted_bytes || self.section.is_full())
    }

    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<usize> {
        self.end_trial();
        let held_before = self.section.held_bytes();
        self.trial.mark = Some(self.section.mark());
        let written = self.section.write(key, value, &mut self.trial.bytes);
        let held = self.section.held_bytes().saturating_sub(held_before);
        let bytes = self.trial.bytes.len() + held;
        self.end_trial();
        written.map(|()| bytes)
    }

    fn settle(&mut self) -> Result<()> {
        self.end_trial();
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
        self.bytes.capacity() + self.trial.bytes.capacity() + self.section.held_bytes()
    }

    fn take(&mut self) -> Result<Collected> {
        self.end_trial();
        if let Some(error) = self.lost.take() {
            return Err(error);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{CollectorSetup, Unlimited};
    use crate::input::Chunk;
    use crate::output::TextOutput;
    use crate::prelude::*;
    use crate::user_code::{BadRecordPolicy, panic};

    /// Writes half of the value 9, and panics; clears the output at the value 8.
    #[derive(Clone)]
    struct Torn;

    impl TextOutput<str, u64> for Torn {
        fn write(&self, key: &str, value: u64, out: &mut Vec<u8>) -> Result<()> {
            out.extend_from_slice(key.as_bytes());
            assert_ne!(value, 9, "half of the pair");
            if value == 8 {
                out.clear();
            }
            out.push(b'\n');
            Ok(())
        }
    }

    fn taken(store: &mut EncodedStore<str, u64, Torn>) -> String {
        let Collected::Output { bytes, .. } = store.take().unwrap() else { panic!() };
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_pair_that_cannot_be_written_leaves_nothing() {
        let mut store = EncodedStore::<str, u64, Torn>::new(Arc::new(Torn));
        store.put("rye", 1, 0).unwrap();
        for _ in 0..2 {
            panic::guard(|| store.check("hay", 9, 0)).unwrap_err();
        }
        store.check("oats", 1, 0).unwrap();
        store.put("oats", 1, 0).unwrap();
        panic::guard(|| store.check("hay", 9, 0)).unwrap_err();
        store.settle().unwrap();
        assert_eq!(taken(&mut store), "rye\noats\n");
    }

    struct Lines;

    impl Mapper for Lines {
        type Input = Line;
        type Key = str;
        type Value = u64;

        fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
            out.emit(line, if line == "hay" { 9 } else { 1 })
        }
    }

    #[test]
    fn records_around_one_that_cannot_be_written_are_whole() {
        let program = Job::new("torn", Lines).output(Torn).map_only().build("{}").unwrap();
        let bad_records = BadRecordPolicy { skips_bad_records: true, ..BadRecordPolicy::default() };
        let setup = CollectorSetup { bad_records, ..CollectorSetup::default() };
        for text in ["hay\nrye\noats\n", "rye\nhay\nhay\noats\n", "rye\noats\nhay\n"] {
            let mut collector = program.clone().collector(&setup);
            collector.map_chunk(&Chunk::new("a", text.as_bytes()), &mut Unlimited).unwrap();
            let Collected::Output { bytes, records, .. } = collector.take().unwrap() else {
                panic!()
            };
            assert_eq!((&*bytes, records), (&b"rye\noats\n"[..], 2), "{text}");
            let skipped = collector.take_skipped().len();
            assert_eq!(skipped, text.matches("hay").count());
        }
    }

    #[test]
    fn an_output_that_removes_other_pairs_is_found() {
        let mut store = EncodedStore::<str, u64, Torn>::new(Arc::new(Torn));
        store.put("rye", 1, 0).unwrap();
        let error = store.put("hay", 8, 0).unwrap_err();
        assert!(error.message().contains("removed 3 bytes"), "{error}");
        // Even if the mapper ignores it.
        store.put("oats", 1, 0).unwrap();
        assert!(store.take().is_err());
    }
}
