//! Only needed work is repeated: a task gets another attempt when the last one has ended without
//! success, or when its output is lost and a reducer may still need it.

use windrow_jobs::{AttemptId, StageId};
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
        let mut running = 0;
        for (id, former) in ledger.attempts_of(attempt.task) {
            match former.status {
                Status::Running => running += 1,
                Status::Done => check(is_lost(id, former, ledger), || {
                    format!("{attempt} assigned although {id} is done and its output is there")
                })?,
                Status::Failed(_)
                | Status::Cancelled
                | Status::Overtaken
                | Status::Lost
                | Status::Unknown => {}
            }
        }
        let backs_up = ledger.backed_up.iter().any(|slow| slow.task == attempt.task);
        let allowed = u32::from(backs_up);
        check(running == allowed, || format!("{attempt} assigned while {running} run"))?;
        check(!backs_up || is_elsewhere(*attempt, effect, ledger), || {
            format!("{attempt} backs up an attempt of the same worker")
        })
    }
}

fn is_elsewhere(attempt: AttemptId, effect: &Effect, ledger: &Ledger) -> bool {
    let Effect::Assign { worker, .. } = effect else { return true };
    let mut others = ledger.attempts_of(attempt.task);
    others.all(|(_, other)| other.status != Status::Running || other.worker != *worker)
}

fn is_lost(id: AttemptId, attempt: &Attempt, ledger: &Ledger) -> bool {
    if id.task.stage == StageId::REDUCE {
        // Its input was replaced by a different one.
        return ledger.nondeterministic(id.task.job);
    }
    let holder_gone = !ledger.sessions.contains_key(&attempt.worker);
    let wanted = ledger.jobs.get(&id.task.job).is_some_and(|job| job.needs_map_outputs());
    id.task.stage == StageId::MAP
        && wanted
        && (holder_gone || attempt.missing || ledger.may_be_given_up(id, attempt))
}
