//! When a job ends, every worker that may hold something of it is told so once, and nobody before.

use std::collections::{BTreeMap, BTreeSet};

use windrow_jobs::{JobId, WorkerId};
use windrow_scheduler::{Effect, Time};

use super::{Invariant, Ledger, Truth, check};

#[derive(Default)]
pub struct Releases {
    released: BTreeMap<JobId, BTreeSet<WorkerId>>,
}

impl Invariant for Releases {
    fn on_effect(
        &mut self,
        _now: Time,
        effect: &Effect,
        ledger: &Ledger,
        _truth: &Truth,
    ) -> Result<(), String> {
        match effect {
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
