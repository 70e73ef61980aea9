//! No two workers ever have the same id, and a worker gets its session back exactly if the session
//! has not ended.

use std::collections::BTreeSet;

use windrow_jobs::WorkerId;
use windrow_scheduler::{Effect, Event};

use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Sessions {
    admitted: BTreeSet<WorkerId>,
    /// The worker that is returning, and whether its session had not ended.
    returning: Option<(WorkerId, bool)>,
}

impl Rule for Sessions {
    fn on_event(&mut self, event: &Event, ledger: &Ledger) -> Result<(), String> {
        self.returning = match event {
            Event::WorkerReturned { worker, .. } => {
                Some((*worker, ledger.sessions.contains_key(worker)))
            }
            _ => None,
        };
        Ok(())
    }

    fn on_effect(&mut self, effect: &Effect, _ledger: &Ledger) -> Result<(), String> {
        let right = match (effect, self.returning) {
            (Effect::Admitted { worker, .. }, None) => self.admitted.insert(*worker),
            (Effect::Admitted { worker, .. }, Some(returning)) => returning == (*worker, true),
            (Effect::TooLate { .. }, Some((_, stood))) => !stood,
            (Effect::TooLate { .. }, None) => false,
            _ => true,
        };
        check(right, || format!("{effect:?} to {:?}", self.returning))
    }
}
