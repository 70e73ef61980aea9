//! Plans a map task whose input has units: the job's own code finds them, on all threads.

use rayon::prelude::*;
use windrow_jobs::input::FoundUnits;
use windrow_jobs::program::InputFormat;
use windrow_jobs::{FailureCause, InputRange};

use super::Attempt;
use super::plan::{CHUNK_BYTES_MIN, InputPlan};
use crate::input::{self, units};

/// For each thread, a unit up to one part in this many of the memory may be read while other
/// threads read theirs. Larger ones are read one at a time.
const MEMORY_PARTS: u64 = 64;

/// The plan of the units that begin in `ranges`.
pub fn plan(
    attempt: &Attempt,
    input: u32,
    ranges: Vec<InputRange>,
    format: InputFormat,
) -> Result<InputPlan, FailureCause> {
    let found: Vec<_> = ranges.par_iter().map(|range| find(attempt, input, range)).collect();
    // In order, so that of several failures the same one is reported each time.
    let found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
    let share = attempt.memory.limit_bytes() / (attempt.threads.max(1) as u64 * MEMORY_PARTS);
    let lossy = attempt.context.lossy;
    Ok(InputPlan::of_units(ranges, found, share.max(CHUNK_BYTES_MIN), format, lossy))
}

fn find(attempt: &Attempt, input: u32, range: &InputRange) -> Result<FoundUnits, FailureCause> {
    attempt.check()?;
    let file = input::open(&range.location, &range.version)?;
    let bytes = attempt.context.record_bytes_max.max(1);
    let found = units::find(&*attempt.program, input, range, &*file, bytes)?;
    file.check()?;
    Ok(found)
}
