//! The scheduler with its journal: no effect comes out before its event is durable.
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
//! The state changes at once, so that the next event sees the change; only the effects wait. They
//! come out in the order of their events. Recovery reads the newest state and replays all records
//! since: the same events in the same state lead to the same state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::effect::Effect;
use crate::event::Event;
use crate::job::stage::CowBlock;
use crate::journal::{
    Answer, Appender, AttachmentId, Call, CallId, Content, Epoch, JournalError, Nonce, Recovered,
};
use crate::scheduler::Scheduler;
use crate::time::Time;

/// What the driver keeps besides the scheduler and must survive with it. It changes only by events
/// and their effects.
pub trait Catalog: Clone {
    /// What the driver knows about an event and the scheduler does not need.
    type Note: Clone + Default + Content;
    /// A large value that notes name, written once.
    type Attachment: Clone;

    /// Applies an event with the scheduler's effects and its state afterwards. Must be
    /// deterministic: no other input.
    fn apply(
        &mut self,
        at: Time,
        event: &Event,
        note: Self::Note,
        effects: &[Effect],
        scheduler: &Scheduler,
    );

    /// Calls `name` with each attachment that this value needs.
    fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        let _ = name;
    }

    /// Fills in the attachments that this value needs, after it was read from the journal.
    fn take_attachments(&mut self, attachments: &BTreeMap<AttachmentId, Arc<Self::Attachment>>) {
        let _ = attachments;
    }

    /// Removes from an event, before it is journaled, what an attachment named by the note
    /// contains.
    fn strip(event: &mut Event, note: &Self::Note) {
        let _ = (event, note);
    }

    /// Restores that from the attachments, and puts the attachments into the note, when both are
    /// read.
    fn complete(
        event: &mut Event,
        note: &mut Self::Note,
        attachments: &BTreeMap<AttachmentId, Arc<Self::Attachment>>,
    ) {
        let _ = (event, note, attachments);
    }
}

/// The state that survives a coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournaledState<C> {
    /// When it changed last.
    pub now: Time,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// What the driver knows of it.
    pub catalog: C,
}

/// One event as it is journaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<N> {
    /// When it was handled.
    pub at: Time,
    /// What happened.
    pub event: Event,
    /// What the driver knows of it.
    pub note: N,
}

/// A large value that states or records name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Attachment<P> {
    /// The catalog's.
    Catalog(Arc<P>),
    /// The scheduler's.
    Scheduler(CowBlock),
}

/// The journal call of a decider with this catalog.
type CallOf<C> = Call<Record<<C as Catalog>::Note>, JournaledState<C>, AttachmentOf<C>>;
type AttachmentOf<C> = Attachment<<C as Catalog>::Attachment>;
type AppenderOf<C> = Appender<Record<<C as Catalog>::Note>, JournaledState<C>, AttachmentOf<C>>;

/// A journaled scheduler, without I/O: its owner takes calls and effects, carries them out, and
/// passes the answers back.
#[derive(Debug)]
pub struct Decider<C: Catalog> {
    state: JournaledState<C>,
    appender: Appender<Record<C::Note>, JournaledState<C>, Attachment<C::Attachment>>,
    /// Held effects, each with the number of the record that must be durable first.
    held: VecDeque<(u64, Effect)>,
    cut: Cut,
    /// When the log was last cut, and after how many records.
    cut_at: Time,
    cut_records: u64,
}

/// When a log is long enough for another state.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Number of objects, so that a takeover has few to read.
    objects: u64,
    /// Bytes.
    bytes: u64,
    /// Records.
    records: u64,
    /// The least interval. With a few objects in flight, a store adds so few objects in this time
    /// that a takeover, with many reads in flight, reads them in less than a second, however fast
    /// the store is.
    interval: Duration,
    /// The least interval for each task: unchanged blocks are not written again, but queues and
    /// holders are copied and written each time.
    interval_per_task: Duration,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            objects: 512,
            bytes: 16 << 20,
            records: 50_000,
            interval: Duration::from_secs(5),
            // For a million tasks, that is ten seconds.
            interval_per_task: Duration::from_micros(10),
        }
    }
}

impl<C: Catalog> Decider<C> {
    /// Continues where the journal ends; a new journal begins with the catalog `new`.
    pub fn recover(
        recovered: Recovered<Record<C::Note>, JournaledState<C>, AttachmentOf<C>>,
        config: Config,
        new: C,
    ) -> Self {
        let appender = Appender::new(recovered.epoch, recovered.nonce);
        let is_new = recovered.snapshot.is_none() && recovered.batches.is_empty();
        let mut state = match recovered.snapshot {
            Some(state) => Arc::unwrap_or_clone(state),
            None => JournaledState::new(config.clone(), new),
        };
        let (catalogs, blocks) = separate(recovered.attachments);
        state.scheduler.take_blocks(&blocks);
        state.catalog.take_attachments(&catalogs);
        // The state may be later than some records: heartbeats move its time and are not journaled,
        // and the state may come from a coordinator that was still writing it when these records
        // were made.
        let mut told = Time::default();
        for mut record in recovered.batches.iter().flat_map(|batch| batch.iter().cloned()) {
            debug_assert!(record.at >= told, "records are replayed in order");
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

    /// Begins without a journal, since no other process could read it: effects come out at once.
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

    /// Writes a state after this many records instead of the usual number, and without a least
    /// interval.
    #[must_use]
    pub fn with_snapshot_after(mut self, records: u64) -> Self {
        self.cut.records = records.max(1);
        self.cut.interval = Duration::ZERO;
        self.cut.interval_per_task = Duration::ZERO;
        self
    }

    /// The current state, durable or not.
    pub fn state(&self) -> &JournaledState<C> {
        &self.state
    }

    /// The epoch in which it decides.
    pub fn epoch(&self) -> Epoch {
        self.appender.epoch()
    }

    /// Whether the epoch is durable: until then another coordinator may win the race for it, and no
    /// effect comes out.
    pub fn is_durable(&self) -> bool {
        !self.is_shared() || self.appender.durable() > 0
    }

    /// Handles an event. `now` must not lie before the [state](Self::state)'s.
    pub fn handle(&mut self, now: Time, event: Event, note: C::Note) {
        debug_assert!(now >= self.state.now, "time never goes back");
        let is_recorded = self.appender.is_shared() && !event.is_volatile();
        let recorded_note = is_recorded.then(|| note.clone());
        let effects = self.state.handle(now, &event, note);
        if let Some(note) = recorded_note {
            // The event is moved into the record, not copied: there are many events, and some are
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
            BTreeSet<AttachmentId>,
            Vec<(AttachmentId, Arc<AttachmentOf<C>>)>,
        ),
    ) {
        let mut blocks = Vec::new();
        self.state.scheduler.write_blocks(&mut |block| {
            let id = self.appender.name_attachment();
            blocks.push((id, Arc::new(Attachment::Scheduler(block))));
            id
        });
        let mut named = BTreeSet::new();
        self.state.name_attachments(&mut |attachment| {
            named.insert(attachment);
        });
        write(&mut self.appender, Arc::new(self.state.clone()), named, blocks);
        (self.cut_at, self.cut_records) = (self.state.now, self.appender.pushed());
    }

    /// Writes a large value as an attachment that the note of an event is going to name. The event
    /// may be [handled](Self::handle) once the attachment [is written](Self::next_written).
    pub fn write_attachment(&mut self, attachment: Arc<C::Attachment>) -> AttachmentId {
        self.appender.write_attachment(Arc::new(Attachment::Catalog(attachment)))
    }

    /// The next such attachment that is written.
    pub fn next_written(&mut self) -> Option<AttachmentId> {
        self.appender.next_written()
    }

    /// The event that names the attachment was handled, or never will be.
    pub fn attachment_named(&mut self, attachment: AttachmentId) {
        self.appender.attachment_named(attachment);
    }

    /// Whether another process can see the journal.
    pub fn is_shared(&self) -> bool {
        self.appender.is_shared()
    }

    /// Whether so much waits for the store that no more events should be handled.
    pub fn is_full(&self) -> bool {
        self.appender.is_full()
    }

    /// Whether handled events wait for the store.
    pub fn is_waiting(&self) -> bool {
        self.appender.is_waiting()
    }

    /// When [`handle_deadline`](Self::handle_deadline) is to be called next, unless an event
    /// changes that.
    pub fn next_deadline(&self) -> Option<Time> {
        self.state.scheduler.next_deadline()
    }

    /// The event to [handle](Self::handle) for deadlines that have passed at `now`, if any have.
    pub fn due(&mut self, now: Time) -> Option<Event> {
        self.state.scheduler.due(now)
    }

    /// Handles deadlines that have passed at `now`; does nothing if none have.
    pub fn handle_deadline(&mut self, now: Time) {
        if let Some(event) = self.due(now) {
            self.handle(now, event, C::Note::default());
        }
    }

    /// The next call to the store, beside those in flight.
    pub fn next_call(&mut self) -> Option<(CallId, CallOf<C>)> {
        self.appender.next_call()
    }

    /// Handles the store's answer to a call. True if more records are durable now.
    ///
    /// # Errors
    /// When this coordinator must stop. Held effects never come out then.
    pub fn answer(
        &mut self,
        id: CallId,
        answer: Answer<Record<C::Note>, JournaledState<C>, AttachmentOf<C>>,
    ) -> Result<bool, JournalError> {
        let durable = self.appender.durable();
        let is_more = self.appender.answer(id, answer)?;
        debug_assert!(self.appender.durable() >= durable, "the watermark never decreases");
        Ok(is_more)
    }

    /// The next effect whose event is durable.
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

/// Separates the catalog's attachments from the scheduler's.
fn separate<P>(
    attachments: BTreeMap<AttachmentId, Arc<Attachment<P>>>,
) -> (BTreeMap<AttachmentId, Arc<P>>, BTreeMap<AttachmentId, CowBlock>) {
    let (mut catalogs, mut blocks) = (BTreeMap::new(), BTreeMap::new());
    for (id, attachment) in attachments {
        match &*attachment {
            Attachment::Catalog(attachment) => drop(catalogs.insert(id, Arc::clone(attachment))),
            Attachment::Scheduler(block) => drop(blocks.insert(id, block.clone())),
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
    fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        self.scheduler.name_attachments(name);
        self.catalog.name_attachments(name);
    }
}

impl<N: Content> Content for Record<N> {
    fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        self.note.name_attachments(name);
    }

    fn bytes(&self) -> usize {
        size_of::<Time>() + self.event.bytes() + self.note.bytes()
    }
}
