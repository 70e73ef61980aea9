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
//! The state changes at once, so that the next event finds it changed; only its effects wait. All
//! effects come out in the order of their events. A coordinator that takes over reads the last
//! state, and tells it all records since: the same events in the same state lead to the same state,
//! which is all that recovery is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::effect::Effect;
use crate::event::Event;
use crate::job::stage::CowBlock;
use crate::journal::{
    Answer, Appender, Call, CallId, Content, Epoch, JournalError, Nonce, PartId, Recovered,
};
use crate::scheduler::Scheduler;
use crate::time::Time;

/// What the driver keeps besides the scheduler, and what must survive with it: it changes by events
/// and their effects alone.
pub trait Catalog: Clone {
    /// What the driver knows of an event, and the scheduler need not know.
    type Note: Clone + Default + Content;
    /// Something large that notes name, and that is written once.
    type Part: Clone;

    /// Takes in what happened at a moment, what the scheduler has decided, and where that stands
    /// now. Must not look at anything else.
    fn apply(
        &mut self,
        at: Time,
        event: &Event,
        note: Self::Note,
        effects: &[Effect],
        scheduler: &Scheduler,
    );

    /// Calls `name` with each part that this needs.
    fn name_parts(&self, name: &mut dyn FnMut(PartId)) {
        let _ = name;
    }

    /// Puts the parts in their places that this needs, when it was read from the journal.
    fn take_parts(&mut self, parts: &BTreeMap<PartId, Arc<Self::Part>>) {
        let _ = parts;
    }

    /// Takes out of an event that is written down what lies in a part that the note names.
    fn strip(event: &mut Event, note: &Self::Note) {
        let _ = (event, note);
    }

    /// Puts that in again, and the parts into the note, when both were read.
    fn complete(
        event: &mut Event,
        note: &mut Self::Note,
        parts: &BTreeMap<PartId, Arc<Self::Part>>,
    ) {
        let _ = (event, note, parts);
    }
}

/// All that survives a coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournaledState<C> {
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

/// Something large that states or records name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Part<P> {
    /// The catalog's.
    Catalog(Arc<P>),
    /// The scheduler's.
    Scheduler(CowBlock),
}

/// What the journal of a decider with this catalog is asked for.
type CallOf<C> = Call<Record<<C as Catalog>::Note>, JournaledState<C>, PartOf<C>>;
type PartOf<C> = Part<<C as Catalog>::Part>;
type AppenderOf<C> = Appender<Record<<C as Catalog>::Note>, JournaledState<C>, PartOf<C>>;

/// A journaled scheduler. It does nothing itself: its owner asks for calls and effects, carries
/// them out, and answers.
#[derive(Debug)]
pub struct Decider<C: Catalog> {
    state: JournaledState<C>,
    appender: Appender<Record<C::Note>, JournaledState<C>, Part<C::Part>>,
    /// Effects that wait, with the number of the record that must be durable before.
    held: VecDeque<(u64, Effect)>,
    cut: Cut,
    /// When the log was cut last, and how many records there were.
    cut_at: Time,
    cut_records: u64,
}

/// When a log has become so long that the state is written anew.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Objects, so that whoever takes over has few to read.
    objects: u64,
    /// Bytes.
    bytes: u64,
    /// Records.
    records: u64,
    /// Not more often than this. With a few objects in flight, a store adds so few objects in this
    /// time that reading them, many at once, takes less than a second, however fast the store is.
    interval: Duration,
    /// Nor more often than this for each task: of what has changed nothing is written twice, but
    /// queues and holders are copied and written each time.
    interval_per_task: Duration,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            objects: 512,
            bytes: 16 << 20,
            records: 50_000,
            interval: Duration::from_secs(5),
            // A million tasks: not more often than every ten seconds.
            interval_per_task: Duration::from_micros(10),
        }
    }
}

impl<C: Catalog> Decider<C> {
    /// Goes on where the journal ends, or from the start with `new` when it is new.
    pub fn recover(
        recovered: Recovered<Record<C::Note>, JournaledState<C>, PartOf<C>>,
        config: Config,
        new: C,
    ) -> Self {
        let appender = Appender::new(recovered.epoch, recovered.nonce);
        let is_new = recovered.snapshot.is_none() && recovered.batches.is_empty();
        let mut state = match recovered.snapshot {
            Some(state) => Arc::unwrap_or_clone(state),
            None => JournaledState::new(config.clone(), new),
        };
        let (catalogs, blocks) = separate(recovered.parts);
        state.scheduler.take_blocks(&blocks);
        state.catalog.take_parts(&catalogs);
        // The state may be later than some of them: heartbeats move its time and leave no record,
        // and it may be that of a coordinator which was still writing it when these were made.
        let mut told = Time::default();
        for mut record in recovered.batches.iter().flat_map(|batch| batch.iter().cloned()) {
            debug_assert!(record.at >= told, "records are told in their order");
            told = record.at;
            C::complete(&mut record.event, &mut record.note, &catalogs);
            state.handle(record.at, &record.event, record.note);
        }
        let mut decider = Self::of(state, appender);
        if !is_new {
            decider.write_state(Appender::begin_with);
        }
        decider.handle(decider.state.now, Event::TookOver { config }, C::Note::default());
        decider
    }

    /// Begins anew, with a journal that nobody could ever read: it is not written, and all is told
    /// at once.
    pub fn unshared(epoch: Epoch, nonce: Nonce, config: Config, new: C) -> Self {
        let state = JournaledState::new(config.clone(), new);
        let mut decider = Self::of(state, Appender::unshared(epoch, nonce));
        decider.handle(Time::default(), Event::TookOver { config }, C::Note::default());
        decider
    }

    fn of(state: JournaledState<C>, appender: AppenderOf<C>) -> Self {
        let (cut_at, cut) = (state.now, Cut::default());
        Self { state, appender, held: VecDeque::new(), cut, cut_at, cut_records: 0 }
    }

    /// Writes the state anew after so many records instead of the usual number, however soon that
    /// is.
    #[must_use]
    pub fn with_snapshot_after(mut self, records: u64) -> Self {
        self.cut.records = records.max(1);
        self.cut.interval = Duration::ZERO;
        self.cut.interval_per_task = Duration::ZERO;
        self
    }

    /// What is decided so far, durable or not.
    pub fn state(&self) -> &JournaledState<C> {
        &self.state
    }

    /// The epoch in which it decides.
    pub fn epoch(&self) -> Epoch {
        self.appender.epoch()
    }

    /// Whether the epoch is durable: before, another coordinator may win the race for it, and no
    /// effect comes out.
    pub fn is_durable(&self) -> bool {
        !self.is_shared() || self.appender.durable() > 0
    }

    /// Takes in what has happened. `now` must not lie before the [state](Self::state)'s.
    pub fn handle(&mut self, now: Time, event: Event, note: C::Note) {
        debug_assert!(now >= self.state.now, "time only goes on");
        let is_recorded = self.appender.is_shared() && !event.is_volatile();
        let recorded_note = is_recorded.then(|| note.clone());
        let effects = self.state.handle(now, &event, note);
        if let Some(note) = recorded_note {
            // The event itself is written down, not a copy: there are many of them, and some are
            // large.
            let mut record = Record { at: now, event, note };
            C::strip(&mut record.event, &record.note);
            self.appender.push(record);
        }
        let number = self.appender.pushed();
        debug_assert!(
            self.held.back().is_none_or(|(before, _)| *before <= number),
            "effects come out in the order of their events"
        );
        self.held.extend(effects.into_iter().map(|effect| (number, effect)));
        if self.is_to_be_cut() {
            self.write_state(Appender::roll);
        }
    }

    fn is_to_be_cut(&self) -> bool {
        debug_assert!(self.cut_records <= self.appender.pushed(), "the log was cut after a record");
        debug_assert!(self.cut_at <= self.state.now, "the log was not cut in the future");
        let (objects, bytes) = self.appender.since_cut();
        let is_long = objects >= self.cut.objects
            || bytes >= self.cut.bytes
            || self.appender.pushed() - self.cut_records >= self.cut.records;
        if !is_long || !self.appender.may_write_state() {
            return false;
        }
        let tasks = self.state.scheduler.tasks();
        let interval = self.cut.interval.max(self.cut.interval_per_task.saturating_mul(tasks));
        self.state.now >= self.cut_at + interval
    }

    fn write_state(
        &mut self,
        write: impl FnOnce(
            &mut AppenderOf<C>,
            Arc<JournaledState<C>>,
            BTreeSet<PartId>,
            Vec<(PartId, Arc<PartOf<C>>)>,
        ),
    ) {
        let mut blocks = Vec::new();
        self.state.scheduler.write_blocks(&mut |block| {
            let id = self.appender.name_part();
            blocks.push((id, Arc::new(Part::Scheduler(block))));
            id
        });
        let mut named = BTreeSet::new();
        self.state.name_parts(&mut |part| {
            named.insert(part);
        });
        write(&mut self.appender, Arc::new(self.state.clone()), named, blocks);
        (self.cut_at, self.cut_records) = (self.state.now, self.appender.pushed());
    }

    /// Has something large written that the note of an event is going to name. It may be
    /// [handled](Self::handle) when the part [is there](Self::next_written).
    pub fn write_part(&mut self, part: Arc<C::Part>) -> PartId {
        self.appender.write_part(Arc::new(Part::Catalog(part)))
    }

    /// Such a part that is there now.
    pub fn next_written(&mut self) -> Option<PartId> {
        self.appender.next_written()
    }

    /// The event that names the part was handled, or never will be.
    pub fn part_named(&mut self, part: PartId) {
        self.appender.part_named(part);
    }

    /// Whether anybody else can see the journal.
    pub fn is_shared(&self) -> bool {
        self.appender.is_shared()
    }

    /// Whether so much waits for the store that nothing more should be handled.
    pub fn is_full(&self) -> bool {
        self.appender.is_full()
    }

    /// Whether something that was handled waits for the store.
    pub fn is_waiting(&self) -> bool {
        self.appender.is_waiting()
    }

    /// When [`handle_deadline`](Self::handle_deadline) is to be called next, unless an event
    /// changes that.
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

    /// What the store is to do next, beside all that it is doing.
    pub fn next_call(&mut self) -> Option<(CallId, CallOf<C>)> {
        self.appender.next_call()
    }

    /// What the store has answered to a call. True if more is durable now.
    ///
    /// # Errors
    /// When this coordinator must not go on. Effects that are held then never come out.
    pub fn answer(
        &mut self,
        id: CallId,
        answer: Answer<Record<C::Note>, JournaledState<C>, PartOf<C>>,
    ) -> Result<bool, JournalError> {
        let durable = self.appender.durable();
        let is_more = self.appender.answer(id, answer)?;
        debug_assert!(self.appender.durable() >= durable, "what was told cannot be taken back");
        Ok(is_more)
    }

    /// The next effect to be carried out, if it may be by now.
    pub fn next_effect(&mut self) -> Option<Effect> {
        let (number, _) = self.held.front()?;
        debug_assert!(
            *number <= self.appender.pushed(),
            "an effect waits for a record that exists"
        );
        (*number <= self.appender.durable())
            .then(|| self.held.pop_front())?
            .map(|(_, effect)| effect)
    }
}

/// The catalog's parts, and the scheduler's.
fn separate<P>(
    parts: BTreeMap<PartId, Arc<Part<P>>>,
) -> (BTreeMap<PartId, Arc<P>>, BTreeMap<PartId, CowBlock>) {
    let (mut catalogs, mut blocks) = (BTreeMap::new(), BTreeMap::new());
    for (id, part) in parts {
        match &*part {
            Part::Catalog(part) => drop(catalogs.insert(id, Arc::clone(part))),
            Part::Scheduler(block) => drop(blocks.insert(id, block.clone())),
        }
    }
    (catalogs, blocks)
}

impl<C: Catalog> JournaledState<C> {
    fn new(config: Config, catalog: C) -> Self {
        Self { now: Time::default(), scheduler: Scheduler::new(config), catalog }
    }

    fn handle(&mut self, at: Time, event: &Event, note: C::Note) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.scheduler.handle(at, event, &mut effects);
        self.catalog.apply(at, event, note, &effects, &self.scheduler);
        self.now = at;
        effects
    }
}

impl<C: Catalog> Content for JournaledState<C> {
    fn name_parts(&self, name: &mut dyn FnMut(PartId)) {
        self.scheduler.name_parts(name);
        self.catalog.name_parts(name);
    }
}

impl<N: Content> Content for Record<N> {
    fn name_parts(&self, name: &mut dyn FnMut(PartId)) {
        self.note.name_parts(name);
    }

    fn bytes(&self) -> usize {
        size_of::<Time>() + self.event.bytes() + self.note.bytes()
    }
}
