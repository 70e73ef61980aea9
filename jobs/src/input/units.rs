//! Units: pieces of a file that are found by reading the file, and are mapped as a whole.
//!
//! ```text
//!  | header |  unit  |  unit  |    unit    |  unit  | index |     a format finds the units;
//!  |..........split 0.........|.........split 1..............|     a split has those that begin
//!                                                                  in it
//! ```
//!
//! A job process that maps a split asks the format for its units, so the plan of a job holds no
//! units, and planning opens no file.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use super::RecordError;
use crate::failure::FailureCause;

/// Bytes of a file that are read and mapped together, such as a row group, a compressed member, or
/// a block. Found by [`Format::units`](super::Format::units).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    range: Range<u64>,
    reads: Option<Vec<Range<u64>>>,
    descriptor: Box<[u8]>,
}

impl Unit {
    /// The unit with these bytes, of which no other unit has any.
    pub fn new(range: Range<u64>) -> Self {
        Self { range, reads: None, descriptor: Box::default() }
    }

    /// With a description for [`Chunk::unit`](super::Chunk::unit), which only the format
    /// understands.
    #[must_use]
    pub fn with_descriptor(self, descriptor: impl Into<Box<[u8]>>) -> Self {
        Self { descriptor: descriptor.into(), ..self }
    }

    /// Reads these ranges one after the other, instead of the unit's own: only some columns of a
    /// row group, for example. They may lie anywhere in the file.
    #[must_use]
    pub fn reading(self, ranges: Vec<Range<u64>>) -> Self {
        Self { reads: Some(ranges), ..self }
    }

    /// Its bytes.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The ranges that are read.
    pub fn reads(&self) -> &[Range<u64>] {
        self.reads.as_deref().unwrap_or(std::slice::from_ref(&self.range))
    }

    /// Number of bytes that are read.
    pub fn read_bytes(&self) -> u64 {
        self.reads().iter().fold(0, |sum, read| sum.saturating_add(len(read)))
    }

    /// The format's description.
    pub fn descriptor(&self) -> &[u8] {
        &self.descriptor
    }

    /// Memory that it takes up, without the bytes that are read.
    #[doc(hidden)] // for the engine
    pub fn memory_bytes(&self) -> u64 {
        let reads = self.reads.as_ref().map_or(0, Vec::len) * size_of::<Range<u64>>();
        (size_of::<Self>() + reads + self.descriptor.len()) as u64
    }
}

fn len(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// Reads from one version of a file.
type Read<'a> = dyn Fn(&mut [u8], u64) -> Result<(), FailureCause> + 'a;

/// One version of a file, for [`Format::units`](super::Format::units) to read
/// where it likes.
pub struct FileReader<'a> {
    name: &'a str,
    bytes: u64,
    read: &'a Read<'a>,
    /// Bytes that may still be read.
    left: Cell<u64>,
    limit_bytes: u64,
    failure: RefCell<Option<FailureCause>>,
}

impl<'a> FileReader<'a> {
    /// A file of this name and size, of which at most `limit_bytes` may be read.
    #[doc(hidden)] // for the engine
    pub fn new(name: &'a str, bytes: u64, limit_bytes: u64, read: &'a Read<'a>) -> Self {
        let (left, failure) = (Cell::new(limit_bytes), RefCell::default());
        Self { name, bytes, read, left, limit_bytes, failure }
    }

    /// Its name, as the user would write it.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The failure of a read, if any. It takes precedence over what the format made of it.
    pub(crate) fn take_failure(&self) -> Option<FailureCause> {
        self.failure.take()
    }

    /// Reads these bytes.
    ///
    /// # Errors
    /// When the file ends before them or cannot be read, or when more would be read in all than
    /// `--max-record-size`. The format returns the error.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>, RecordError> {
        let Range { start, end } = range;
        if start > end || end > self.bytes {
            let bytes = self.bytes;
            let message = format!("bytes {start} to {end} are not in the file, which has {bytes}");
            return Err(RecordError::at(start.min(bytes), message));
        }
        let Some(left) = self.left.get().checked_sub(end - start) else {
            let message = format!(
                "more than {} bytes had to be read to find the units of the file; give a larger --max-record-size",
                self.limit_bytes
            );
            return Err(RecordError::at(start, message));
        };
        self.left.set(left);
        let mut buffer = vec![0; (end - start) as usize];
        (self.read)(&mut buffer, start).map_err(|cause| {
            let error = RecordError::at(start, cause.to_string());
            self.failure.borrow_mut().get_or_insert(cause);
            error
        })?;
        Ok(buffer)
    }
}

/// The units of a file that begin in one range, as
/// [`Format::units`](super::Format::units) finds them.
#[derive(Debug)]
pub struct Units {
    range: Range<u64>,
    /// Whether a unit is wanted, too, that begins before the range and ends in it.
    overlapping: bool,
    file_bytes: u64,
    limit_bytes: u64,
    held_bytes: u64,
    most: usize,
    found: FoundUnits,
    /// Where the last unit ended, whether it was kept or not.
    end: u64,
    failure: Option<RecordError>,
}

/// What [`Format::units`](super::Format::units) has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundUnits {
    /// In the order of the file.
    pub units: Vec<Unit>,
    /// What all of them need, see [`Units::set_header`].
    pub header: Box<[u8]>,
}

impl Units {
    /// Keeps the units that begin in `range` of a file of `file_bytes`, at most `most`, and at most
    /// as many as fit into `limit_bytes`.
    #[doc(hidden)] // for the engine
    pub fn new(range: Range<u64>, file_bytes: u64, limit_bytes: u64, most: usize) -> Self {
        Self {
            range,
            overlapping: false,
            file_bytes,
            limit_bytes,
            held_bytes: 0,
            most,
            found: FoundUnits::default(),
            end: 0,
            failure: None,
        }
    }

    /// Keeps a unit, too, that begins before the range and ends in it or after it: for samples.
    #[doc(hidden)] // for the engine
    #[must_use]
    pub fn overlapping(self) -> Self {
        Self { overlapping: true, ..self }
    }

    /// The range in which wanted units begin. A format that finds units without an index needs to
    /// look only there; other units are ignored.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Sets what each unit needs of the file as a whole, such as a schema or a codec: the
    /// [`header`](super::Chunk::header) of their chunks. One that takes more memory than the
    /// descriptions of units may is an error of the next [`push`](Self::push), or of the file.
    pub fn set_header(&mut self, header: impl Into<Box<[u8]>>) {
        self.found.header = header.into();
        let bytes = self.found.header.len() as u64;
        if bytes > self.limit_bytes {
            let limit = self.limit_bytes;
            let message = format!("the header has {bytes} bytes; at most {limit} are held");
            self.failure.get_or_insert(RecordError::at(0, message));
        }
    }

    /// Adds the next unit. Units come in the order of the file, and may leave gaps.
    ///
    /// # Errors
    /// When the unit is empty, overlaps the one before, or lies outside of the file; or when units
    /// need too much memory. The format returns the error.
    pub fn push(&mut self, unit: Unit) -> Result<(), RecordError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.check(&unit).inspect_err(|error| self.failure = Some(error.clone()))?;
        self.end = unit.range.end;
        let begins = self.range.contains(&unit.range.start);
        let ends = unit.range.start < self.range.start && unit.range.end > self.range.start;
        if (begins || self.overlapping && ends) && self.found.units.len() < self.most {
            self.held_bytes += unit.memory_bytes();
            self.found.units.push(unit);
        }
        Ok(())
    }

    fn check(&self, unit: &Unit) -> Result<(), RecordError> {
        let Range { start, end } = unit.range;
        let failed = |message: String| Err(RecordError::at(start.min(self.file_bytes), message));
        if start >= end {
            return failed(format!("the unit from byte {start} to {end} is empty"));
        }
        if end > self.file_bytes {
            let bytes = self.file_bytes;
            return failed(format!(
                "a unit has the bytes {start} to {end}, but the file has {bytes}"
            ));
        }
        let is_wrong = |read: &&Range<u64>| read.start > read.end || read.end > self.file_bytes;
        if let Some(Range { start, end }) = unit.reads().iter().find(is_wrong) {
            let bytes = self.file_bytes;
            return failed(format!(
                "a unit reads the bytes {start} to {end}, which are not in the file, which has {bytes}"
            ));
        }
        if start < self.end {
            let before = self.end;
            return failed(format!(
                "the unit from byte {start} to {end} begins before the end of the unit before it, at byte {before}"
            ));
        }
        if self.held_bytes + unit.memory_bytes() > self.limit_bytes {
            let limit = self.limit_bytes;
            return failed(format!(
                "the descriptions of the units take more than {limit} bytes; give a smaller --split-size"
            ));
        }
        Ok(())
    }

    /// The units, unless the format has failed, or has ignored an error.
    pub(crate) fn finish(self, found: Result<(), RecordError>) -> Result<FoundUnits, RecordError> {
        self.failure.map_or(found, Err).map(|()| self.found)
    }

    /// Whether nothing more is wanted: a format that finds units one by one may stop.
    pub fn is_full(&self) -> bool {
        self.found.units.len() >= self.most || self.end >= self.range.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(units: &[Range<u64>], range: Range<u64>) -> Result<Vec<Range<u64>>, RecordError> {
        let mut found = Units::new(range, 100, 10_000, usize::MAX);
        units.iter().try_for_each(|unit| found.push(Unit::new(unit.clone())))?;
        Ok(found.found.units.iter().map(Unit::range).collect())
    }

    #[test]
    fn a_unit_belongs_to_the_range_in_which_it_begins() {
        let all = [0..10, 10..30, 40..41, 60..100];
        for cut in 0..=100 {
            let (left, right) = (pushed(&all, 0..cut).unwrap(), pushed(&all, cut..100).unwrap());
            assert_eq!([left, right].concat(), all, "{cut}");
        }
    }

    #[test]
    fn units_out_of_place_are_refused_wherever_they_are_wanted() {
        for (units, at, said) in [
            (vec![0..10, 9..20], 9, "begins before the end of the unit before it, at byte 10"),
            (vec![20..30, 0..10], 0, "begins before the end"),
            (vec![0..10, 90..101], 90, "has the bytes 90 to 101, but the file has 100"),
            (vec![0..1, u64::MAX - 1..u64::MAX], 100, "but the file has 100"),
            (vec![0..1, 5..5], 5, "is empty"),
            (vec![0..1, Range { start: 9, end: 5 }], 9, "is empty"),
        ] {
            for range in [0..100, 70..80] {
                let error = pushed(&units, range).unwrap_err();
                assert_eq!(error.offset, at);
                assert!(error.message.contains(said), "{}", error.message);
            }
        }
        let mut units = Units::new(0..100, 100, 10_000, usize::MAX);
        let reads = Unit::new(0..10).reading(vec![0..5, 99..101]);
        assert!(units.push(reads).unwrap_err().message.contains("the bytes 99 to 101"));
        let mut units_of_others = Units::new(0..100, 100, 10_000, usize::MAX);
        let reads = Unit::new(0..10).reading(vec![Range { start: 10, end: 5 }, 0..4]);
        let error = units_of_others.push(reads).unwrap_err();
        assert!(error.message.contains("the bytes 10 to 5"), "{error:?}");
        // The format must not go on, and the task does not even if it does.
        units.push(Unit::new(10..20)).unwrap_err();
    }

    #[test]
    fn descriptions_of_units_are_bounded() {
        let mut units = Units::new(0..100, 100, 10_000, usize::MAX);
        let unit = |start| Unit::new(start..start + 1).with_descriptor(vec![0; 4_000]);
        units.push(unit(0)).unwrap();
        units.push(unit(1)).unwrap();
        assert!(units.push(unit(2)).unwrap_err().message.contains("--split-size"));
        let mut units = Units::new(0..100, 100, 10_000, usize::MAX);
        units.set_header(vec![0; 10_001]);
        let error = units.finish(Ok(())).unwrap_err();
        assert!(error.message.contains("10001 bytes; at most 10000"), "{error:?}");
    }

    #[test]
    fn the_first_unit_that_a_sample_touches_is_enough() {
        let mut units = Units::new(15..100, 100, 10_000, 1).overlapping();
        for unit in [0..10, 10..20] {
            assert!(!units.is_full());
            units.push(Unit::new(unit)).unwrap();
        }
        assert!(units.is_full());
        units.push(Unit::new(20..30)).unwrap();
        assert_eq!(units.found.units, [Unit::new(10..20)]);
    }

    #[test]
    fn only_so_much_of_a_file_is_read_for_its_units() {
        let read = |_: &mut [u8], _: u64| Ok(());
        let file = FileReader::new("f", 100, 20, &read);
        assert_eq!(file.read(0..20).unwrap().len(), 20);
        assert!(file.read(20..21).unwrap_err().message.contains("--max-record-size"));
        for outside in [90..101, Range { start: 3, end: 2 }, u64::MAX - 1..u64::MAX] {
            let error = file.read(outside).unwrap_err();
            assert!(error.message.contains("are not in the file, which has 100"), "{error:?}");
        }
    }
}
