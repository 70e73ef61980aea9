//! A winner is never cancelled, even if a late heartbeat lists it as running: its worker might
//! delete its output.

use windrow_jobs::StageId;
use windrow_scheduler::Effect;

use super::ledger::Status;
use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Winners;

impl Rule for Winners {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let Effect::CancelAttempt { worker, attempt: id } = effect else { return Ok(()) };
        let Some(attempt) = ledger.attempts.get(id) else { return Ok(()) };
        let over = ledger.jobs.get(&id.task.job).is_none_or(|job| job.ended.is_some());
        let won = attempt.status == Status::Done && attempt.worker == *worker;
        // It has read an outdated map output.
        let redone = id.task.stage == StageId::REDUCE && ledger.nondeterministic(id.task.job);
        let given_up = redone || ledger.may_be_given_up(*id, attempt) || attempt.missing;
        let stands = won && !over && !given_up;
        check(!stands, || format!("{id} has won on {worker} and is cancelled there"))
    }
}
