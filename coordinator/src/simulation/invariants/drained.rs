//! A worker that is told to go has asked to, runs nothing, and is not needed afterwards: no reducer
//! fails because it is gone.

use std::collections::BTreeSet;

use windrow_jobs::{AttemptId, FailureCause, WorkerId};
use windrow_scheduler::{Effect, Event};

use super::ledger::Status;
use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Drained {
    told: BTreeSet<WorkerId>,
    /// The worker that asks again, or has returned: it may not have heard.
    still_there: Option<WorkerId>,
}

impl Rule for Drained {
    fn on_event(&mut self, event: &Event, ledger: &Ledger) -> Result<(), String> {
        self.still_there = match event {
            Event::WorkerDraining { worker } | Event::WorkerReturned { worker, .. } => {
                Some(*worker)
            }
            _ => None,
        };
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

    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let Effect::Drained { worker } = effect else { return Ok(()) };
        let new = self.told.insert(*worker) || self.still_there == Some(*worker);
        check(new, || format!("{worker} is told twice to go"))?;
        let asked = ledger.sessions.get(worker).is_some_and(|session| session.draining);
        check(asked, || format!("{worker} did not ask to go"))?;
        let running = ledger.running().find(|(_, other)| other == worker);
        check(running.is_none(), || format!("{worker} is told to go but runs {running:?}"))
    }
}

/// Whether an earlier complaint was about an output that this worker holds of the job.
fn reported(reader: &AttemptId, cause: &FailureCause, ledger: &Ledger) -> bool {
    let FailureCause::FetchFailed { worker: holder, .. } = cause else { return false };
    ledger.attempts.iter().any(|(id, attempt)| {
        id.task.job == reader.task.job
            && attempt.worker == *holder
            && (attempt.reports > 0 || attempt.missing)
    })
}
