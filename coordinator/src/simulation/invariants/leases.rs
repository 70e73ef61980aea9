//! A session is ended only for silence. (The world checks that silence always ends it: heartbeats
//! are not replayed.)

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

/// Checks that no session outlives its lease once a live coordinator has handled its deadlines.
pub fn check_silence(now: Time, ledger: &Ledger) -> Result<(), String> {
    for (worker, session) in &ledger.sessions {
        let stands = now < session.lease_ends;
        check(stands, || format!("leases: {worker} counts although its lease is over"))?;
    }
    Ok(())
}

/// Checks that a coordinator renews no lease while its store has been silent for so long that it
/// may be fenced.
pub fn check_acknowledgement(silent: Duration, lease: Duration) -> Result<(), String> {
    let may_be_in_charge = silent <= lease / 2;
    check(may_be_in_charge, || format!("leases: renewed by one without a store for {silent:?}"))
}

/// Checks that a coordinator that was paused for longer than a lease does not lose a worker whose
/// heartbeats wait to be read.
pub fn check_heard(worker: WorkerId, waits: bool) -> Result<(), String> {
    check(!waits, || format!("leases: {worker} is given up while what it said waits to be read"))
}
