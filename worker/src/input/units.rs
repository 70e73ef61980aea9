//! The units of a file, in a format that has any: asked of the job's program, and read.

use windrow_jobs::input::{FileReader, FoundUnits, Unit, Units};
use windrow_jobs::program::Program;
use windrow_jobs::{FailureCause, InputRange};

use super::Input;

/// Most memory that the descriptions of the units of one range take: there may be half a million.
const DESCRIPTIONS_BYTES: u64 = 64 << 20;

/// The units that begin in `range` of the open `file`, which belongs to input number `input` of the
/// job. At most `limit_bytes` are read to find them.
pub fn find(
    program: &dyn Program,
    input: u32,
    range: &InputRange,
    file: &dyn Input,
    limit_bytes: u64,
) -> Result<FoundUnits, FailureCause> {
    let (of_file, file_bytes) = (range.range.clone(), range.version.bytes());
    let units = Units::new(of_file, file_bytes, DESCRIPTIONS_BYTES, usize::MAX);
    find_in(program, input, range, file, limit_bytes, units)
}

/// The first unit that has bytes in `range`, if any; otherwise like [`find`].
pub fn find_one(
    program: &dyn Program,
    input: u32,
    range: &InputRange,
    file: &dyn Input,
    limit_bytes: u64,
) -> Result<FoundUnits, FailureCause> {
    let (of_file, file_bytes) = (range.range.clone(), range.version.bytes());
    let units = Units::new(of_file, file_bytes, DESCRIPTIONS_BYTES, 1).overlapping();
    find_in(program, input, range, file, limit_bytes, units)
}

fn find_in(
    program: &dyn Program,
    input: u32,
    InputRange { location, version, .. }: &InputRange,
    file: &dyn Input,
    limit_bytes: u64,
    units: Units,
) -> Result<FoundUnits, FailureCause> {
    let read = |buffer: &mut [u8], offset: u64| file.read_at(buffer, offset);
    let reader = FileReader::new(location.as_str(), version.bytes(), limit_bytes, &read);
    program.find_units(input, &reader, units)
}

/// Reads a unit into the beginning of `buffer`, which is as large at least.
pub fn read(unit: &Unit, file: &dyn Input, buffer: &mut [u8]) -> Result<(), FailureCause> {
    let mut rest = buffer;
    for range in unit.reads() {
        let (part, behind) = rest.split_at_mut((range.end - range.start) as usize);
        file.read_at(part, range.start)?;
        rest = behind;
    }
    Ok(())
}
