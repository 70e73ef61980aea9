//! Only what is needed is done again: a task gets another attempt when the last one is over without success, or
//! when its output is lost and a reducer may still want it.

use windrow_jobs::{AttemptId, Stage};
use windrow_scheduler::Effect;

use super::ledger::{Attempt, Status};
use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Redo;

impl Rule for Redo {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let Effect::Assign { attempt, .. } = effect else { return Ok(()) };
        if ledger.is_retold(effect) {
            return Ok(());
        }
        let Some((last, former)) = ledger.attempts_of(attempt.task).last() else { return Ok(()) };
        match former.status {
            Status::Running => Err(format!("{attempt} assigned while {last} runs")),
            Status::Done => check(is_lost(last, former, ledger), || {
                format!("{attempt} assigned although {last} is done and its output is there")
            }),
            Status::Failed(_) | Status::Cancelled | Status::Lost | Status::Unknown => Ok(()),
        }
    }
}

fn is_lost(id: AttemptId, attempt: &Attempt, ledger: &Ledger) -> bool {
    let holder_gone = !ledger.sessions.contains_key(&attempt.worker);
    let wanted = ledger.jobs.get(&id.task.job).is_some_and(|job| job.needs_map_outputs());
    id.task.stage == Stage::Map
        && wanted
        && (holder_gone || attempt.missing || ledger.may_be_given_up(id, attempt))
}
