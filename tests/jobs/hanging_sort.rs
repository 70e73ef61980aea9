//! A sort whose mapper marks a file beside the input at its first record, and hangs.

use windrow::input::{Located, LocatedRecord};
use windrow::prelude::*;

struct Hangs;

pub fn job() -> Job {
    Job::new("hanging-sort", Hangs).sort()
}

impl Mapper for Hangs {
    type Input = Located<Line>;
    type Key = str;
    type Value = ();

    fn map(&self, line: LocatedRecord<'_, &str>, _out: &mut impl Emit<str, ()>) -> Result<()> {
        std::fs::write(format!("{}.seen", line.file), "")?;
        loop {
            std::thread::park();
        }
    }
}
