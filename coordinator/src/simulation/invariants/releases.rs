//! When a job ends, every worker that may hold data of it is told so once, and no worker is told
//! before. Afterwards, only returning workers that still have data are told again.

use std::collections::{BTreeMap, BTreeSet};

use windrow_jobs::{JobId, WorkerId};
use windrow_scheduler::Effect;

use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Releases {
    released: BTreeMap<JobId, BTreeSet<WorkerId>>,
}

impl Rule for Releases {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        match effect {
            // A returning worker may have missed the end.
            Effect::Release { worker, job }
                if ledger.returning == Some(*worker) && over(*job, ledger) =>
            {
                Ok(())
            }
            Effect::Release { worker, job } => {
                let new = self.released.entry(*job).or_default().insert(*worker);
                check(new, || format!("{job} is released twice on {worker}"))
            }
            Effect::Ended { job, .. } => {
                let released = self.released.remove(job).unwrap_or_default();
                let touched = ledger.touched(*job);
                check(released == touched, || format!("{job}: {released:?}, not {touched:?}"))
            }
            // Releases and the end come together.
            _ => check(self.released.is_empty(), || {
                format!("released before the end: {:?}, then {effect:?}", self.released)
            }),
        }
    }
}

fn over(job: JobId, ledger: &Ledger) -> bool {
    ledger.jobs.get(&job).is_none_or(|job| job.ended.is_some())
}
