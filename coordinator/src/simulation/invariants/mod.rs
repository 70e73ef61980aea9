//! The invariants of every world, one per file. None of them looks into the scheduler: they watch
//! its events and effects, and keep ledgers of their own.
//!
//! Rules watch one line of history, from within the catalog: the decisions of each coordinator must
//! follow from its events, live and in replay. The other invariants watch the world: what any
//! coordinator has told, and its consequences.

mod after_end;
mod answers;
mod assignment;
mod attempt_ids;
mod caps;
mod commit;
mod drained;
pub mod ends;
pub mod epochs;
pub mod history;
mod inputs;
mod job_ends;
pub mod leases;
mod ledger;
pub mod owners;
pub mod promises;
mod redo;
mod releases;
pub mod remembers;
pub mod replay;
mod sessions;
pub mod size;
mod suspects;
pub mod visible;
mod winners;

use windrow_scheduler::{Effect, Event};

pub use ledger::Ledger;

/// A rule for decisions. The ledger does not yet contain the event or effect that is being checked.
pub trait Rule {
    fn on_event(&mut self, _event: &Event, _ledger: &Ledger) -> Result<(), String> {
        Ok(())
    }

    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String>;
}

/// All rules, with their memory.
#[derive(Clone, Default)]
pub struct Rules {
    after_end: after_end::AfterEnd,
    answers: answers::Answers,
    assignment: assignment::Assignment,
    attempt_ids: attempt_ids::AttemptIds,
    caps: caps::Caps,
    commit: commit::Commit,
    drained: drained::Drained,
    job_ends: job_ends::JobEnds,
    inputs: inputs::Inputs,
    leases: leases::Leases,
    redo: redo::Redo,
    releases: releases::Releases,
    sessions: sessions::Sessions,
    suspects: suspects::Suspects,
    winners: winners::Winners,
}

impl Rules {
    /// All rules by name.
    pub fn all(&mut self) -> [(&'static str, &mut dyn Rule); 15] {
        [
            ("after_end", &mut self.after_end),
            ("answers", &mut self.answers),
            ("assignment", &mut self.assignment),
            ("attempt_ids", &mut self.attempt_ids),
            ("caps", &mut self.caps),
            ("commit", &mut self.commit),
            ("drained", &mut self.drained),
            ("job ends", &mut self.job_ends),
            ("inputs", &mut self.inputs),
            ("leases", &mut self.leases),
            ("redo", &mut self.redo),
            ("releases", &mut self.releases),
            ("sessions", &mut self.sessions),
            ("suspects", &mut self.suspects),
            ("winners", &mut self.winners),
        ]
    }
}

/// `Err` with the message unless the condition holds.
fn check(condition: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(message()) }
}
