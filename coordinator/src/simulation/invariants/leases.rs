//! A session is ended for silence alone. (That silence always ends it, the world looks at: what
//! heartbeats said is not told again in a replay.)

use std::time::Duration;

use windrow_jobs::WorkerId;
use windrow_scheduler::{Effect, Time};

use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Leases;

impl Rule for Leases {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let Effect::EndSession { worker, .. } = effect else { return Ok(()) };
        let ends = ledger.sessions.get(worker).map(|session| session.lease_ends);
        let due = ends.is_some_and(|at| at <= ledger.now);
        check(due, || format!("the session of {worker} is ended before {ends:?}"))
    }
}

/// When a coordinator that lives has looked at its deadlines, no session is left whose lease is
/// over.
pub fn check_silence(now: Time, ledger: &Ledger) -> Result<(), String> {
    for (worker, session) in &ledger.sessions {
        let stands = now < session.lease_ends;
        check(stands, || format!("leases: {worker} counts although its lease is over"))?;
    }
    Ok(())
}

/// Whoever has not heard of its store for so long may have been replaced.
pub fn check_acknowledgement(silent: Duration, lease: Duration) -> Result<(), String> {
    let may_be_in_charge = silent <= lease / 2;
    check(may_be_in_charge, || format!("leases: renewed by one without a store for {silent:?}"))
}

/// A coordinator that was paused longer than a lease must not give up a worker whose heartbeats
/// wait to be read.
pub fn check_heard(worker: WorkerId, waits: bool) -> Result<(), String> {
    check(!waits, || format!("leases: {worker} is given up while what it said waits to be read"))
}
