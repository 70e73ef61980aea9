//! Attempts of a task are numbered 1, 2, 3 and so on; no id is used twice, and every task exists.
//! Only an attempt that a returning worker lacks is assigned again.

use windrow_jobs::StageId;
use windrow_scheduler::Effect;

use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct AttemptIds;

impl Rule for AttemptIds {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let Effect::Assign { attempt, .. } = effect else { return Ok(()) };
        if ledger.is_retold(effect) {
            return Ok(());
        }
        let last = ledger.attempts_of(attempt.task).last().map_or(0, |(id, _)| id.number);
        check(attempt.number == last + 1, || format!("{attempt} follows attempt {last}"))?;
        let tasks = ledger.jobs.get(&attempt.task.job).map_or(0, |job| match attempt.task.stage {
            StageId::MAP => job.plan.splits.len() as u32,
            _ => job.plan.partitions,
        });
        check(attempt.task.index < tasks, || format!("there is no {}", attempt.task))
    }
}
