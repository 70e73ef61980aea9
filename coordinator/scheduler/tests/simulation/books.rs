//! The catalog of a simulated coordinator: its books, and the rules that watch its decisions. It lives in the journal as the
//! real catalog does, so that what a takeover brings back is watched as well.

use std::collections::BTreeSet;

use windrow_jobs::JobId;
use windrow_scheduler::journal::Content;
use windrow_scheduler::{Catalog, Config, Effect, Event, Scheduler, Time};

use crate::invariants::{Ledger, Rules, owners};

/// What comes with an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// Which one it is, of all that were ever handled. 0 for what the decider tells itself.
    pub serial: u64,
    /// When it was handled.
    pub at: Time,
}

impl Content for Note {}

#[derive(Clone)]
pub struct Books {
    pub ledger: Ledger,
    rules: Rules,
    /// The serials of all events that are to survive, in order.
    pub history: Vec<u64>,
    /// What followed from the last event.
    pub decided: Vec<Effect>,
    /// Jobs that have ended, and whose leftovers may not have been swept.
    pub unsettled: BTreeSet<JobId>,
    /// The first rule that was broken.
    pub violation: Option<String>,
}

impl Books {
    pub fn new(config: Config) -> Self {
        Self {
            ledger: Ledger::new(config),
            rules: Rules::default(),
            history: Vec::new(),
            decided: Vec::new(),
            unsettled: BTreeSet::new(),
            violation: None,
        }
    }

    /// What must hold between two events of a coordinator that lives.
    pub fn check(&self, scheduler: &Scheduler) -> Result<(), String> {
        match &self.violation {
            Some(violation) => Err(violation.clone()),
            None => owners::check_owners(scheduler, &self.ledger),
        }
    }

    fn watch(&mut self, at: Time, event: &Event, effects: &[Effect]) -> Result<(), String> {
        let named = |name| move |message| format!("{name}: {message}");
        for (name, rule) in self.rules.all() {
            rule.on_event(event, &self.ledger).map_err(named(name))?;
        }
        self.ledger.on_event(at, event);
        for effect in effects {
            for (name, rule) in self.rules.all() {
                rule.on_effect(effect, &self.ledger).map_err(named(name))?;
            }
            self.ledger.on_effect(effect);
        }
        Ok(())
    }
}

impl Catalog for Books {
    type Note = Note;
    type Part = ();

    fn apply(&mut self, event: &Event, note: Note, effects: &[Effect], _scheduler: &Scheduler) {
        // A takeover goes on at the time of what it has found.
        let at = if note.serial == 0 { self.ledger.now } else { note.at };
        if !event.is_volatile() {
            self.history.push(note.serial);
        }
        if self.violation.is_none() {
            self.violation = self.watch(at, event, effects).err();
        }
        for effect in effects {
            if let Effect::Ended { job, .. } = effect {
                self.unsettled.insert(*job);
            }
        }
        if let Event::Settled { job } = event {
            self.unsettled.remove(job);
        }
        self.decided = effects.to_vec();
    }
}
