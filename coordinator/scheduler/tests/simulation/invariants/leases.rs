//! Sessions end for silence alone, and silence always ends them.

use windrow_scheduler::{Effect, Event, Time};

use super::{Invariant, Ledger, Truth, check};

pub struct Leases;

impl Invariant for Leases {
    fn on_event(&mut self, now: Time, event: &Event, ledger: &Ledger) -> Result<(), String> {
        for (worker, session) in &ledger.sessions {
            // At the very moment, the event may come first.
            let silent = now.since(session.heard);
            let message =
                || format!("{worker} still counts after {silent:?} of silence: {event:?}");
            check(silent <= ledger.config.lease, message)?;
        }
        Ok(())
    }

    fn on_effect(
        &mut self,
        now: Time,
        effect: &Effect,
        ledger: &Ledger,
        _truth: &Truth,
    ) -> Result<(), String> {
        let Effect::EndSession { worker, .. } = effect else { return Ok(()) };
        let silent = ledger.sessions.get(worker).map(|session| now.since(session.heard));
        let due = silent.is_some_and(|silent| silent >= ledger.config.lease);
        check(due, || format!("{worker} was silent for {silent:?} only"))
    }
}
