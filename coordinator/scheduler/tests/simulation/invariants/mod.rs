//! What must hold in every world, one a file. None of them looks into the scheduler: they watch what goes in and
//! what comes out, and keep books of their own.

mod after_end;
mod assignment;
mod attempt_ids;
mod caps;
mod commit;
mod drained;
mod ends;
mod honesty;
mod inputs;
mod leases;
mod ledger;
mod redo;
mod releases;
mod winners;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windrow_jobs::{AttemptId, WorkerId};
use windrow_scheduler::{Effect, Event, MapOutputs, Time};

pub use ledger::Ledger;

/// What really happened on the workers, whatever was reported.
#[derive(Default)]
pub struct Truth {
    /// Attempts that succeeded, and where.
    pub succeeded: BTreeSet<(AttemptId, WorkerId)>,
    /// What each reduce attempt has read, all of which existed at that moment.
    pub read: BTreeMap<AttemptId, Arc<MapOutputs>>,
}

/// Watches one rule. The ledger does not contain yet what is being watched.
pub trait Invariant {
    fn on_event(&mut self, _now: Time, _event: &Event, _ledger: &Ledger) -> Result<(), String> {
        Ok(())
    }

    fn on_effect(
        &mut self,
        _now: Time,
        _effect: &Effect,
        _ledger: &Ledger,
        _truth: &Truth,
    ) -> Result<(), String> {
        Ok(())
    }

    fn at_end(&mut self, _ledger: &Ledger) -> Result<(), String> {
        Ok(())
    }
}

pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(after_end::AfterEnd),
        Box::new(assignment::Assignment),
        Box::new(attempt_ids::AttemptIds),
        Box::new(caps::Caps),
        Box::new(commit::Commit::default()),
        Box::new(drained::Drained::default()),
        Box::new(ends::Ends),
        Box::new(honesty::Honesty),
        Box::new(inputs::Inputs::default()),
        Box::new(leases::Leases),
        Box::new(redo::Redo),
        Box::new(releases::Releases::default()),
        Box::new(winners::Winners),
    ]
}

/// `Err` with the message unless the condition holds.
fn check(condition: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(message()) }
}
