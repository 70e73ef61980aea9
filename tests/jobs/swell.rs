//! A mapper without a reducer that makes many long lines from one, and reports its process's memory
//! at a line.

use std::fs;

use windrow::prelude::*;

/// The line at which it reports.
pub const LOOK: &str = "look";
/// The counter of the process's peak memory, in KiB.
pub const PEAK_KIB: &str = "peak KiB";
/// Bytes of a line, with its end.
pub const LINE_BYTES: usize = 1_000;

struct Swell;

pub fn job() -> Job {
    Job::new("swell", Swell).map_only()
}

impl Mapper for Swell {
    type Input = Line;
    type Key = str;
    type Value = ();

    fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
        if line == LOOK {
            out.count(PEAK_KIB, peak_kib()?);
            return Ok(());
        }
        for n in 0..line.parse::<u64>()? {
            out.emit(&format!("{n:0width$}", width = LINE_BYTES - 1), ())?;
        }
        Ok(())
    }
}

fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(peak.unwrap_or_default().trim().trim_end_matches(" kB").parse()?)
}
