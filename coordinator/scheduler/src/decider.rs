//! The scheduler with its journal: what it has decided is told to nobody before it is durable.
//!
//! ```text
//!              event, note                    +------------------+
//!  driver -----------------------> handle --->| State: scheduler |---> effects, held until their
//!                                     |       |        catalog   |     records are durable
//!                                     v       +------------------+              |
//!                                 Appender ------ Call --> store                v
//!                                     ^---------- Answer ----+        next_effect ---> driver
//! ```
//!
//! The state changes at once, so that the next event finds it changed; only its effects wait. All effects come out in the
//! order of their events. A coordinator that takes over reads the last state, and tells it all records since:
//! the same events in the same state lead to the same state, which is all that recovery is.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::effect::Effect;
use crate::event::Event;
use crate::journal::{Answer, Appender, Call, Epoch, JournalError, Recovered};
use crate::scheduler::Scheduler;
use crate::time::Time;

/// What the driver keeps besides the scheduler, and what must survive with it: it changes by events and their effects
/// alone.
pub trait Catalog: Clone {
    /// What the driver knows of an event, and the scheduler need not know.
    type Note: Clone + Default;

    /// Takes in an event, what the scheduler has decided, and where that stands now. Must not look at anything else.
    fn apply(&mut self, event: &Event, note: Self::Note, effects: &[Effect], scheduler: &Scheduler);
}

/// All that survives a coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State<C> {
    /// When it changed last.
    pub now: Time,
    /// What is decided.
    pub scheduler: Scheduler,
    /// What the driver knows of it.
    pub catalog: C,
}

/// One event, as it is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<N> {
    /// When it was handled.
    pub at: Time,
    /// What happened.
    pub event: Event,
    /// What the driver knows of it.
    pub note: N,
}

/// A journaled scheduler. It does nothing itself: its owner asks for calls and effects, carries them out, and answers.
#[derive(Debug)]
pub struct Decider<C: Catalog> {
    state: State<C>,
    appender: Appender<Record<C::Note>, State<C>>,
    /// Effects that wait, with the number of the record that must be durable before.
    held: VecDeque<(u64, Effect)>,
    /// Records after which the state is written anew.
    snapshot_after: u64,
}

/// Records after which the state is written anew.
const SNAPSHOT_AFTER: u64 = 10_000;

impl<C: Catalog> Decider<C> {
    /// Goes on where the journal ends, or from the start with `new` when it is new.
    pub fn recover(
        recovered: Recovered<Record<C::Note>, State<C>>,
        config: Config,
        new: C,
    ) -> Self {
        let mut state = match recovered.snapshot {
            Some(state) => Arc::unwrap_or_clone(state),
            None => State {
                now: Time::default(),
                scheduler: Scheduler::new(config.clone()),
                catalog: new,
            },
        };
        for record in recovered.batches.iter().flat_map(|batch| batch.iter()) {
            state.handle(record.clone());
        }
        let event = Event::TookOver { config };
        let effects = state.handle(Record { at: state.now, event, note: C::Note::default() });
        let appender = Appender::new(recovered.epoch, recovered.nonce, Arc::new(state.clone()));
        let held = effects.into_iter().map(|effect| (0, effect)).collect();
        Self { state, appender, held, snapshot_after: SNAPSHOT_AFTER }
    }

    /// Writes the state anew after so many records instead of the usual number.
    #[must_use]
    pub fn with_snapshot_after(self, records: u64) -> Self {
        Self { snapshot_after: records.max(1), ..self }
    }

    /// What is decided so far, durable or not.
    pub fn state(&self) -> &State<C> {
        &self.state
    }

    /// The epoch in which it decides.
    pub fn epoch(&self) -> Epoch {
        self.appender.epoch()
    }

    /// Whether the epoch is durable: before, another coordinator may win the race for it, and no effect comes out.
    pub fn is_durable(&self) -> bool {
        self.appender.durable().is_some()
    }

    /// Takes in what has happened. `now` must not lie before the [state](Self::state)'s.
    pub fn handle(&mut self, now: Time, event: Event, note: C::Note) {
        let record = Record { at: now, event, note };
        let number = if record.event.is_volatile() {
            self.appender.pushed()
        } else {
            self.appender.push(record.clone())
        };
        let effects = self.state.handle(record);
        self.held.extend(effects.into_iter().map(|effect| (number, effect)));
        if self.appender.since_snapshot() >= self.snapshot_after {
            self.appender.roll(Arc::new(self.state.clone()));
        }
    }

    /// When [`handle_deadline`](Self::handle_deadline) is to be called next, unless an event changes that.
    pub fn next_deadline(&self) -> Option<Time> {
        self.state.scheduler.next_deadline()
    }

    /// The event to be [handled](Self::handle) because of what is due at `now`, if anything is.
    pub fn due(&mut self, now: Time) -> Option<Event> {
        self.state.scheduler.due(now)
    }

    /// Handles what is due at `now`; harmless when nothing is.
    pub fn handle_deadline(&mut self, now: Time) {
        if let Some(event) = self.due(now) {
            self.handle(now, event, C::Note::default());
        }
    }

    /// What the store is to do next, unless it is busy or there is nothing to do.
    pub fn next_call(&mut self) -> Option<Call<Record<C::Note>, State<C>>> {
        self.appender.next_call()
    }

    /// What the store has answered. True if nothing more is to be done about what it was asked for.
    ///
    /// # Errors
    /// When this coordinator must not go on. Effects that are held then never come out.
    pub fn answer(
        &mut self,
        answer: Answer<Record<C::Note>, State<C>>,
    ) -> Result<bool, JournalError> {
        let before = self.appender.steps_done();
        self.appender.answer(answer)?;
        Ok(self.appender.steps_done() > before)
    }

    /// The next effect to be carried out, if it may be by now.
    pub fn next_effect(&mut self) -> Option<Effect> {
        let durable = self.appender.durable()?;
        let (number, _) = self.held.front()?;
        (*number <= durable).then(|| self.held.pop_front())?.map(|(_, effect)| effect)
    }
}

impl<C: Catalog> State<C> {
    fn handle(&mut self, record: Record<C::Note>) -> Vec<Effect> {
        let Record { at, event, note } = record;
        let mut effects = Vec::new();
        self.scheduler.handle(at, event.clone(), &mut effects);
        self.catalog.apply(&event, note, &effects, &self.scheduler);
        self.now = at;
        effects
    }
}
