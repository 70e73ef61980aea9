//! Records what a simulated coordinator decides, and checks the invariants. The record lies in the
//! real catalog, and so in the journal, so that recovery is checked as well.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

use windrow_jobs::hash_key;
use windrow_scheduler::{Config, Effect, Event, Scheduler, Time};

use crate::simulation::invariants::{Ledger, Rules, owners, remembers};

#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) ledger: Ledger,
    rules: Rules,
    /// A hash chain over the journaled events: equal histories have equal hashes.
    pub(crate) history: Vec<u64>,
    /// The first violated invariant.
    violation: Option<String>,
}

/// What the coordinator whose turn it is has decided and told.
#[derive(Default)]
pub(crate) struct Recorded {
    /// Effects, each with the length of history that must be durable before it is told.
    pub(crate) decided: VecDeque<(usize, Effect)>,
    pub(crate) told: VecDeque<Effect>,
    /// Events, if they are traced.
    pub(crate) events: Option<Vec<String>>,
}

thread_local! {
    /// `None` outside a simulation.
    static RECORDED: RefCell<Option<Recorded>> = const { RefCell::new(None) };
}

/// Starts recording in this thread.
pub(crate) fn watch(traced: bool) {
    let events = traced.then(Vec::new);
    RECORDED.set(Some(Recorded { events, ..Recorded::default() }));
}

pub(crate) fn stop_watching() {
    RECORDED.set(None);
}

/// Takes what was recorded since the last call.
pub(crate) fn seen() -> Recorded {
    RECORDED.with_borrow_mut(|recorded| {
        let Some(recorded) = recorded else { return Recorded::default() };
        let events = recorded.events.is_some().then(Vec::new);
        std::mem::replace(recorded, Recorded { events, ..Recorded::default() })
    })
}

/// Notes that the driver carries out an effect.
pub(crate) fn told(effect: &Effect) {
    RECORDED.with_borrow_mut(|recorded| {
        if let Some(recorded) = recorded {
            recorded.told.push_back(effect.clone());
        }
    });
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            ledger: Ledger::new(Config::default()),
            rules: Rules::default(),
            history: Vec::new(),
            violation: None,
        }
    }
}

impl PartialEq for Recorder {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// Checks the invariants between two events of a live coordinator.
    pub(crate) fn check(&self, scheduler: &Scheduler) -> Result<(), String> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        owners::check_owners(scheduler, &self.ledger)?;
        remembers::check_remembers(scheduler, &self.ledger)
    }

    /// Records an event of a coordinator and its effects.
    pub(crate) fn apply(&mut self, at: Time, event: &Event, effects: &[Effect]) {
        RECORDED.with_borrow_mut(|recorded| {
            let Some(recorded) = recorded else { return };
            if !event.is_volatile() {
                self.history.push(self.next_in_history(at, event));
            }
            if self.violation.is_none() {
                self.violation = self.watch(at, event, effects).err();
            }
            let length = self.history.len();
            recorded.decided.extend(effects.iter().map(|effect| (length, effect.clone())));
            if let Some(events) = &mut recorded.events {
                events.push(format!("#{length} {event:?}"));
            }
        });
    }

    fn next_in_history(&self, at: Time, event: &Event) -> u64 {
        let last = self.history.last().copied().unwrap_or_default();
        let bytes = postcard::to_allocvec(&(last, at, event)).expect("events can be written");
        hash_key(&bytes)
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
