//! Finds how long each visitor stays. The reducer gets each visitor's requests in order of time,
//! without holding them ("secondary sort"). Lines are `visitor<TAB>second<TAB>page`; a visit ends
//! after half an hour without a request.
//!
//!     cargo run --release --example secondary_sort -- run visits \
//!         --input requests.tsv --output visits

use std::borrow::Cow;
use std::process::ExitCode;

use windrow::prelude::*;

/// A longer silence ends a visit.
const SILENCE_SECONDS_MAX: u64 = 30 * 60;

struct Requests;

impl Mapper for Requests {
    type Input = Delimited;
    type Key = (String, u64);
    type Value = u64;

    fn map(&self, request: Fields<'_>, out: &mut impl Emit<(String, u64), u64>) -> Result<()> {
        let second = request.text(1)?.parse()?;
        out.emit((&request.text(0)?, second), second)
    }

    fn format(&self) -> Delimited {
        Delimited::tsv()
    }
}

struct Visits;

impl Reducer<String, u64> for Visits {
    type OutputKey = (String, u64);
    type OutputValue = u64;

    /// Emits the visitor, the start of each visit, and its length in seconds.
    fn reduce(
        &self,
        visitor: Cow<'_, str>,
        seconds: &mut Values<'_, u64>,
        out: &mut impl Emit<(String, u64), u64>,
    ) -> Result<()> {
        let Some(first) = seconds.next()? else { return Ok(()) };
        let (mut start, mut last) = (first, first);
        while let Some(second) = seconds.next()? {
            if second - last > SILENCE_SECONDS_MAX {
                out.emit((&visitor, start), last - start)?;
                start = second;
            }
            last = second;
        }
        out.emit((&visitor, start), last - start)
    }
}

fn main() -> ExitCode {
    windrow::main([Job::new("visits", Requests).group_by(FirstPart).reduce(Visits)])
}
