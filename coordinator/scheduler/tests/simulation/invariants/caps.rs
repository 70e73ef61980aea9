//! Retries are bounded: no task gets another attempt once any kind of failure has reached its cap.

use windrow_jobs::{FailureCause, FailureClass};
use windrow_scheduler::{Effect, Time};

use super::ledger::Status;
use super::{Invariant, Ledger, Truth, check};

pub struct Caps;

impl Invariant for Caps {
    fn on_effect(
        &mut self,
        _now: Time,
        effect: &Effect,
        ledger: &Ledger,
        _truth: &Truth,
    ) -> Result<(), String> {
        let Effect::Assign { attempt: id, .. } = effect else { return Ok(()) };
        let Some(job) = ledger.jobs.get(&id.task.job) else { return Ok(()) };
        let (mut failures, mut losses, mut fetches) = (0, 0, 0);
        for (_, attempt) in ledger.attempts_of(id.task) {
            match &attempt.status {
                Status::Failed(FailureCause::FetchFailed { .. }) => fetches += 1,
                Status::Failed(cause) if cause.class() == FailureClass::Attempt => failures += 1,
                // It had stalled.
                Status::Cancelled => failures += 1,
                Status::Lost => losses += 1,
                Status::Failed(_) | Status::Running | Status::Done => {}
            }
        }
        let within = failures < job.plan.max_attempts
            && losses < ledger.config.losses_max
            && fetches < ledger.config.fetch_failures_max;
        check(within, || format!("{id} after {failures}, {losses} and {fetches} failures"))
    }
}
