//! Only what is needed is done again: a task gets another attempt when the last one is over without success, or
//! when its output is lost and a reducer may still want it.

use windrow_jobs::{AttemptId, Stage};
use windrow_scheduler::{Effect, Time};

use super::ledger::{Attempt, Status};
use super::{Invariant, Ledger, Truth, check};

pub struct Redo;

impl Invariant for Redo {
    fn on_effect(
        &mut self,
        _now: Time,
        effect: &Effect,
        ledger: &Ledger,
        _truth: &Truth,
    ) -> Result<(), String> {
        let Effect::Assign { attempt, .. } = effect else { return Ok(()) };
        let Some((last, former)) = ledger.attempts_of(attempt.task).last() else { return Ok(()) };
        match former.status {
            Status::Running => Err(format!("{attempt} assigned while {last} runs")),
            Status::Done => check(is_lost(last, former, ledger), || {
                format!("{attempt} assigned although {last} is done and its output is there")
            }),
            Status::Failed(_) | Status::Cancelled | Status::Lost => Ok(()),
        }
    }
}

fn is_lost(id: AttemptId, attempt: &Attempt, ledger: &Ledger) -> bool {
    let holder_gone = !ledger.sessions.contains_key(&attempt.worker);
    let wanted = ledger.jobs.get(&id.task.job).is_some_and(|job| job.needs_map_outputs());
    id.task.stage == Stage::Map && wanted && (holder_gone || ledger.may_be_given_up(id, attempt))
}
