//! A worker that is told to go has asked for it, runs nothing, and nobody misses it afterwards: no reducer fails
//! because it is gone.

use std::collections::BTreeSet;

use windrow_jobs::{FailureCause, WorkerId};
use windrow_scheduler::{Effect, Event, Time};

use super::ledger::Status;
use super::{Invariant, Ledger, Truth, check};

#[derive(Default)]
pub struct Drained {
    told: BTreeSet<WorkerId>,
}

impl Invariant for Drained {
    fn on_event(&mut self, _now: Time, event: &Event, ledger: &Ledger) -> Result<(), String> {
        let Event::AttemptFailed { worker, attempt, cause } = event else { return Ok(()) };
        let FailureCause::FetchFailed { worker: holder, .. } = cause else { return Ok(()) };
        let counts = ledger
            .attempts
            .get(attempt)
            .is_some_and(|a| a.worker == *worker && a.status == Status::Running);
        // A reducer may have begun to read before the output was given up for other reasons.
        let missed = counts && self.told.contains(holder) && !reported(attempt, cause, ledger);
        check(!missed, || format!("{attempt} misses {holder}, which was told to go"))
    }

    fn on_effect(
        &mut self,
        _now: Time,
        effect: &Effect,
        ledger: &Ledger,
        _truth: &Truth,
    ) -> Result<(), String> {
        let Effect::Drained { worker } = effect else { return Ok(()) };
        check(self.told.insert(*worker), || format!("{worker} is told twice to go"))?;
        let asked = ledger.sessions.get(worker).is_some_and(|session| session.draining);
        check(asked, || format!("{worker} did not ask to go"))?;
        let running = ledger.running().find(|(_, other)| other == worker);
        check(running.is_none(), || format!("{worker} is told to go but runs {running:?}"))
    }
}

/// Whether anybody complained before about an output that this worker holds of the job.
fn reported(reader: &windrow_jobs::AttemptId, cause: &FailureCause, ledger: &Ledger) -> bool {
    let FailureCause::FetchFailed { worker: holder, .. } = cause else { return false };
    ledger.attempts.iter().any(|(id, attempt)| {
        id.task.job == reader.task.job && attempt.worker == *holder && attempt.reports > 0
    })
}
