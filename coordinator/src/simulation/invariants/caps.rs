//! Retries are bounded: no task gets another attempt once any kind of failure has reached its limit
//! since it was last forgiven: fetch failures by a reducer that succeeds, all others by the task's
//! own success.

use windrow_jobs::{FailureCause, FailureClass};
use windrow_scheduler::Effect;

use super::ledger::Status;
use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Caps;

impl Rule for Caps {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let Effect::Assign { attempt: id, .. } = effect else { return Ok(()) };
        if ledger.is_retold(effect) {
            return Ok(());
        }
        let Some(job) = ledger.jobs.get(&id.task.job) else { return Ok(()) };
        let (mut failures, mut losses, mut fetches, mut deaths) = (0, 0, 0, 0);
        for (_, attempt) in ledger.attempts_of(id.task) {
            match &attempt.status {
                Status::Failed(FailureCause::FetchFailed { .. }) => {
                    fetches += u32::from(attempt.reduces_won == job.reduces_won);
                }
                Status::Failed(cause) if cause.died_alone() == Some(false) => deaths += 1,
                Status::Failed(cause) if job.poison(cause).is_some() => {}
                Status::Failed(cause) if cause.class() == FailureClass::Attempt => failures += 1,
                // It had stalled.
                Status::Cancelled => failures += 1,
                Status::Lost | Status::Unknown => losses += 1,
                Status::Done => (failures, losses, deaths) = (0, 0, 0),
                Status::Failed(_) | Status::Overtaken | Status::Running => {}
            }
        }
        let within = failures < job.plan.max_attempts
            && losses < ledger.config.losses_max
            && deaths < ledger.config.deaths_max
            && fetches < ledger.config.fetch_failures_max;
        check(within, || {
            format!("{id} after {failures}, {losses}, {deaths} and {fetches} failures")
        })
    }
}
