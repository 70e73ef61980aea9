//! Nothing is done for a job that has ended; only attempts that still run somewhere are cancelled again.

use windrow_scheduler::{Effect, Time};

use super::{Invariant, Ledger, Truth, check};

pub struct AfterEnd;

impl Invariant for AfterEnd {
    fn on_effect(
        &mut self,
        _now: Time,
        effect: &Effect,
        ledger: &Ledger,
        _truth: &Truth,
    ) -> Result<(), String> {
        let job = match effect {
            Effect::Assign { attempt, .. } => attempt.task.job,
            Effect::Publish { job, .. }
            | Effect::Release { job, .. }
            | Effect::Ended { job, .. }
            | Effect::Accepted { job, .. } => *job,
            _ => return Ok(()),
        };
        let ended = ledger.jobs.get(&job).is_some_and(|job| job.ended.is_some());
        check(!ended, || format!("after the end of {job}: {effect:?}"))
    }
}
