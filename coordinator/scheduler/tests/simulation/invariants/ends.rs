//! Every job ends, within bounded time after the faults have stopped. (That it ends once only, `after_end` sees.)

use super::{Invariant, Ledger, check};

pub struct Ends;

impl Invariant for Ends {
    fn at_end(&mut self, ledger: &Ledger) -> Result<(), String> {
        for (id, job) in &ledger.jobs {
            check(job.ended.is_some(), || format!("{id} has not ended"))?;
        }
        Ok(())
    }
}
