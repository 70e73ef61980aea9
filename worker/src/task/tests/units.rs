//! Map attempts whose input consists of units.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use windrow_jobs::input::{Chunk, FileReader, Format, Framing, Position, RecordError, Unit, Units};
use windrow_jobs::prelude::*;
use windrow_jobs::{FailureCause, InputRange};

use super::super::{Attempt, map};
use super::path;
use crate::model::JobContext;
use crate::shuffle::store::SegmentStore;
use crate::testing::{Words, attempt, file_range, whole_file};

/// Blocks, each a record. The file ends with the size of each block, a byte each, and their number.
#[derive(Clone, Copy, Default)]
struct Blocks;

impl Format for Blocks {
    type Record<'a> = &'a [u8];

    fn framing(&self) -> Framing {
        Framing::Units
    }

    fn units(&self, file: &FileReader<'_>, units: &mut Units) -> Result<(), RecordError> {
        let end = file.bytes() - 1;
        let start = end - u64::from(file.read(end..end + 1)?[0]);
        let mut at = 0;
        units.set_header(b"header".to_vec());
        for size in file.read(start..end)? {
            let block = at..at + u64::from(size);
            at = block.end;
            units.push(Unit::new(block).with_descriptor(vec![size]))?;
        }
        Ok(())
    }

    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, &'a [u8]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        assert_eq!(chunk.header, b"header");
        assert_eq!(chunk.unit, [chunk.bytes.len() as u8]);
        each(chunk.position(0), chunk.bytes)
    }
}

/// Writes the offset and the first byte of each block.
struct Show;

impl Mapper for Show {
    type Input = Located<Blocks>;
    type Key = u64;
    type Value = u64;

    fn map(&self, block: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<u64, u64>) -> Result<()> {
        out.emit(block.offset, u64::from(block.record[0]))
    }
}

/// Writes blocks of these sizes; each has bytes of its own. Returns what [`Show`] says of them.
fn write(path: &Path, sizes: &[u8]) -> String {
    let (mut file, mut lines) = (Vec::new(), String::new());
    for (number, size) in (0..).zip(sizes) {
        lines.push_str(&format!("{}\t{number}\n", file.len()));
        file.extend(vec![number; usize::from(*size)]);
    }
    file.extend(sizes);
    file.push(sizes.len() as u8);
    std::fs::write(path, file).unwrap();
    lines
}

/// What an attempt writes that maps these ranges.
fn mapped(
    folder: &Path,
    ranges: Vec<InputRange>,
    record_bytes_max: u64,
) -> Result<String, FailureCause> {
    let store = Arc::new(SegmentStore::new(folder.join("worker"), 0));
    let job = Job::new("show", Show).map_only();
    let like = attempt(Words::default(), &store, folder, 0);
    let context = JobContext { record_bytes_max, ..(*like.context).clone() };
    let program = job.build("{}").unwrap();
    let attempt = Attempt { program, context: Arc::new(context), ..like };
    let outcome = map(&attempt, 0, ranges)?;
    Ok(std::fs::read_to_string(path(outcome.finished.part.as_ref().unwrap())).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Wherever the file is cut: also in the index, where no unit begins.
    #[test]
    fn each_unit_is_mapped_once_and_in_order(
        sizes in proptest::collection::vec(1u8..60, 0..40), cuts in proptest::collection::vec(0u64..1_500, 0..6)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        let expected = write(&input, &sizes);
        let bytes = whole_file(&input).version.bytes();
        let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut.min(bytes)).chain([0, bytes]).collect();
        cuts.sort();
        let ranges: Vec<_> =
            cuts.windows(2).map(|two| file_range(&input, two[0], two[1])).collect();
        let each = ranges.iter().map(|range| mapped(folder.path(), vec![range.clone()], 1_000).unwrap());
        prop_assert_eq!(each.collect::<String>(), &*expected);
        prop_assert_eq!(mapped(folder.path(), ranges, 1_000).unwrap(), expected);
    }
}

#[test]
fn a_unit_that_is_too_large_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    write(&input, &[50, 60]);
    let read = |most| mapped(folder.path(), vec![whole_file(&input)], most);
    read(60).unwrap();
    let FailureCause::RecordTooLong { place, message } = read(59).unwrap_err() else { panic!() };
    assert_eq!((place.file, place.offset), (input.display().to_string(), Some(50)));
    assert!(message.contains("the unit has 60 bytes"), "{message}");
    assert!(message.contains("--max-record-size"), "{message}");
}

/// Between the plan of the job and the task, which would find other units.
#[test]
fn units_of_another_version_are_not_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    write(&input, &[50, 60]);
    let planned = whole_file(&input);
    write(&input, &[60, 50, 40]);
    let cause = mapped(folder.path(), vec![planned], 1_000).unwrap_err();
    assert!(matches!(cause, FailureCause::InputChanged { .. }), "{cause}");
}
