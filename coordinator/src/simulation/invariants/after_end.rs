//! No effect is for a job that has ended, except that attempts that still run are cancelled again.

use windrow_scheduler::Effect;

use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct AfterEnd;

impl Rule for AfterEnd {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let job = match effect {
            Effect::Assign { attempt, .. } => attempt.task.job,
            // A returning worker may be told again to delete its data.
            Effect::Release { worker, .. } if ledger.returning == Some(*worker) => return Ok(()),
            Effect::Publish { job, .. }
            | Effect::Release { job, .. }
            | Effect::Ended { job, .. } => *job,
            _ => return Ok(()),
        };
        let ended = ledger.jobs.get(&job).is_some_and(|job| job.ended.is_some());
        check(!ended, || format!("after the end of {job}: {effect:?}"))
    }
}
