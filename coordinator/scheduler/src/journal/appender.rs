//! Writing the log of one's own epoch: a few objects at once, each with all records that have come
//! meanwhile.
//!
//! A long log is cut by beginning another epoch: the next licence is taken, the log sealed, and
//! appending goes on in the next log at once. The state at the cut is written beside it
//! ([`Keeper`]).
//!
//! What was created counts when the licence was seen to be the newest after it; [why](super).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::call::{Answer, Call, CallId, Fenced, JournalError};
use super::keeper::{self, Keeper};
use super::line::Line;
use super::object::{Body, Content, Epoch, Key, Nonce, Object, PartId, Slot};

/// Most records in one object, and about most bytes, unless one record alone has more.
const RECORDS_MAX: usize = 4_096;
const OBJECT_BYTES_MAX: usize = 4 << 20;

/// Most objects of logs on their way at once, and most of their bytes.
const IN_FLIGHT_MAX: usize = 4;
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;

/// While so many objects are on their way, another one begins only with so many records: objects
/// cost their readers time.
const IN_FLIGHT_USUAL: usize = 2;
const BATCH_MIN: usize = 64;

/// Records and bytes that may wait before whoever makes them has to wait.
const BACKLOG_RECORDS_MAX: usize = 65_536;
const BACKLOG_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(
    IN_FLIGHT_USUAL <= IN_FLIGHT_MAX && BATCH_MIN <= RECORDS_MAX,
    "a full object is always worth being on its way"
);
const _: () = assert!(
    RECORDS_MAX * IN_FLIGHT_MAX <= BACKLOG_RECORDS_MAX && IN_FLIGHT_BYTES_MAX <= BACKLOG_BYTES_MAX,
    "the store has all that it can take before anybody waits for it"
);

/// Appends records. Ask for the [`next call`](Self::next_call) until there is none, carry the calls
/// out side by side, and tell the [`answer`](Self::answer)s.
#[derive(Clone, Debug)]
pub struct Appender<R, S, P> {
    /// The last that is ours for certain: another coordinator may win the race for the one after.
    epoch: Epoch,
    nonce: Nonce,
    /// The log in which the next record will lie.
    log: Epoch,
    /// The next free slot of it.
    slot: Slot,
    /// How many slots of it are durable.
    holds: Slot,
    /// Whether anybody else can see the journal.
    is_shared: bool,
    line: Line<R, S, P>,
    /// How many steps at the front of the line count if the licence is found for which the store
    /// was asked.
    confirming: Option<usize>,
    keeper: Keeper<R, S, P>,
    /// Not in the line yet.
    queue: VecDeque<R>,
    queue_bytes: usize,
    pushed: u64,
    durable: u64,
    /// Since the log was cut last.
    objects: u64,
    bytes: u64,
    calls: BTreeMap<CallId, Asked>,
    last_call: CallId,
}

/// What the store was asked for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Step(u64),
    /// To say whether this licence is the newest one.
    Newest(Key),
    Keeper(keeper::Asked),
}

impl<R: Clone + Content, S: Clone, P: Clone> Appender<R, S, P> {
    /// Appends in an epoch that has begun, after logs that are sealed.
    pub fn new(epoch: Epoch, nonce: Nonce) -> Self {
        Self {
            epoch,
            nonce,
            log: epoch,
            slot: Slot(0),
            holds: Slot(0),
            is_shared: true,
            line: Line::new(),
            confirming: None,
            keeper: Keeper::new(epoch, nonce),
            queue: VecDeque::new(),
            queue_bytes: 0,
            pushed: 0,
            durable: 0,
            objects: 0,
            bytes: 0,
            calls: BTreeMap::new(),
            last_call: CallId(0),
        }
    }

    /// Keeps nothing: nobody could ever read it. What is pushed counts at once, and there are no
    /// calls.
    pub fn unshared(epoch: Epoch, nonce: Nonce) -> Self {
        Self { is_shared: false, ..Self::new(epoch, nonce) }
    }

    /// Whether anybody else can see the journal.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The epoch in which it decides: the last one that nobody else can have.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes a record, and returns its number: 1 for the first, and so on.
    pub fn push(&mut self, record: R) -> u64 {
        debug_assert!(self.is_shared, "where nothing is kept, records need not be made");
        self.queue_bytes += record.bytes();
        self.queue.push_back(record);
        self.pushed += 1;
        debug_assert!(
            self.durable + self.queue.len() as u64 <= self.pushed,
            "what is not written yet is not durable"
        );
        self.pushed
    }

    /// Records taken.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Records that are durable: all up to the one with this number.
    pub fn durable(&self) -> u64 {
        debug_assert!(self.durable <= self.pushed, "only what was pushed can be durable");
        self.durable
    }

    /// Objects and bytes since the log was cut last, in the line or durable.
    pub fn since_cut(&self) -> (u64, u64) {
        (self.objects, self.bytes)
    }

    /// Whether so much waits for the store that no more should come.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= BACKLOG_RECORDS_MAX
            || self.queue_bytes + self.line.bytes() >= BACKLOG_BYTES_MAX
    }

    /// Whether records wait for the store.
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || !self.line.is_empty()
    }

    /// Has something large written that a record is going to name: not before it is
    /// [there](Self::next_written). Nobody waits for it meanwhile.
    pub fn write_part(&mut self, part: Arc<P>) -> PartId {
        self.keeper.write(part)
    }

    /// One of them that is there now.
    pub fn next_written(&mut self) -> Option<PartId> {
        self.keeper.next_written()
    }

    /// Such a part was named by a record, or never will be.
    pub fn part_named(&mut self, part: PartId) {
        self.keeper.forget(part);
    }

    /// A name for a part of a state that is about to be taken.
    pub fn name_part(&mut self) -> PartId {
        self.keeper.name_part()
    }

    /// Whether the state may be written anew: not while it is being written.
    pub fn may_write_state(&self) -> bool {
        self.is_shared && !self.keeper.is_writing_state()
    }

    /// Has `state` written, in which all is contained that happened before this epoch, and nothing
    /// else. To be called at once after [`new`](Self::new), or not at all. See
    /// [`roll`](Self::roll).
    pub fn begin_with(
        &mut self,
        state: Arc<S>,
        named: BTreeSet<PartId>,
        parts: Vec<(PartId, Arc<P>)>,
    ) {
        debug_assert_eq!((self.log, self.slot), (self.epoch, Slot(0)), "the log has begun");
        // The first step is that of the first record: then the epoch is ours.
        self.keeper.write_state(self.log, self.line.first(), state, named, parts);
    }

    /// Begins another epoch with `state`, in which all records so far are contained. It names the
    /// parts `named`, of which those in `parts` are new.
    pub fn roll(&mut self, state: Arc<S>, named: BTreeSet<PartId>, parts: Vec<(PartId, Arc<P>)>) {
        debug_assert!(self.may_write_state(), "one state at a time");
        while !self.queue.is_empty() {
            self.append_queue();
        }
        debug_assert_eq!(self.queue_bytes, 0, "all records so far lie in the log that ends here");
        debug_assert!(self.holds <= self.slot, "the seal lies after all that counts");
        let next = self.log.next();
        debug_assert!(self.epoch < next, "a licence that is ours is not created again");
        let object = |body| Object { epoch: next, nonce: self.nonce, body };
        self.line.push(Key::Epoch(next), object(Body::Begin), None, 0);
        let seal = object(Body::Seal { holds: self.slot });
        let sealed = self.line.push(Key::Log(self.log, self.slot), seal, None, 0);
        (self.log, self.slot, self.holds) = (next, Slot(0), Slot(0));
        (self.objects, self.bytes) = (0, 0);
        self.keeper.write_state(next, sealed, state, named, parts);
    }

    /// What the store is to do next, beside all that it is doing.
    pub fn next_call(&mut self) -> Option<(CallId, Call<R, S, P>)> {
        if !self.is_shared {
            return None;
        }
        while self.may_append() {
            self.append_queue();
        }
        let (asked, call) = self.next_asked()?;
        self.last_call.0 += 1;
        self.calls.insert(self.last_call, asked);
        debug_assert!(
            self.calls.len() <= IN_FLIGHT_MAX + 1 + keeper::CALLS_MAX,
            "what the store is asked for at once is bounded"
        );
        Some((self.last_call, call))
    }

    fn next_asked(&mut self) -> Option<(Asked, Call<R, S, P>)> {
        if let Some((number, call)) = self.line.next_call(IN_FLIGHT_MAX) {
            return Some((Asked::Step(number), call));
        }
        if let Some(question) = self.next_question() {
            return Some(question);
        }
        let (asked, call) = self.keeper.next_call(self.line.first())?;
        Some((Asked::Keeper(asked), call))
    }

    /// Whether what is there at the front of the line counts.
    fn next_question(&mut self) -> Option<(Asked, Call<R, S, P>)> {
        let there = self.line.there();
        if self.confirming.is_some() {
            return None;
        }
        let last = self.line.get(there.checked_sub(1)?)?;
        let licence = Key::Epoch(last.epoch());
        self.confirming = Some(there);
        Some((Asked::Newest(licence), Call::Licences))
    }

    /// What the store has answered to a call. True if more is durable now.
    ///
    /// # Errors
    /// When another coordinator has taken over, or the journal is damaged. Nothing more must be
    /// appended then.
    pub fn answer(&mut self, id: CallId, answer: Answer<R, S, P>) -> Result<bool, JournalError> {
        let asked = self.calls.remove(&id);
        debug_assert!(asked.is_some(), "an answer comes once, and to a call");
        match asked {
            Some(Asked::Step(number)) => self.line.answer(number, answer, self.nonce)?,
            Some(Asked::Keeper(asked)) => self.keeper.answer(asked, answer)?,
            Some(Asked::Newest(licence)) => return self.newest_answered(licence, answer),
            None => {}
        }
        Ok(false)
    }

    fn newest_answered(
        &mut self,
        licence: Key,
        answer: Answer<R, S, P>,
    ) -> Result<bool, JournalError> {
        debug_assert!(self.confirming.is_some(), "one question at a time, and one answer to it");
        let confirmed = self.confirming.take().unwrap_or(0);
        debug_assert!(
            confirmed <= self.line.there(),
            "what was there when it was asked stays there"
        );
        match answer {
            Answer::Refused(message) => Err(JournalError::Refused(message)),
            Answer::Listed(listing) => match listing.epochs.last() {
                Some(&newest) if Key::Epoch(newest) == licence => Ok(self.count(confirmed)),
                // We are about to begin this one ourselves; whether it is ours, its creation will
                // tell.
                Some(&by) if Key::Epoch(by) > licence && by <= self.log => Ok(false),
                Some(&by) if Key::Epoch(by) > licence => Err(Fenced { by }.into()),
                _ => Err(JournalError::Unlicensed { licence }),
            },
            _ => Ok(false),
        }
    }

    /// So many steps at the front of the line are durable, and the epoch was ours when they were
    /// created.
    fn count(&mut self, steps: usize) -> bool {
        debug_assert!(steps <= self.line.there(), "what counts is there");
        (0..steps).for_each(|_| self.count_first());
        steps > 0
    }

    fn count_first(&mut self) {
        let Some(step) = self.line.pop() else { return };
        debug_assert!(step.epoch() >= self.epoch, "epochs only grow");
        if let Some(durable) = step.durable {
            debug_assert!(durable > self.durable, "records become durable in their order");
            self.durable = durable;
        }
        match step.key() {
            // The log before is sealed, by us: nobody else can begin in this epoch.
            Key::Log(log, _) if step.is_seal() => {
                debug_assert_eq!(
                    log.next(),
                    step.epoch(),
                    "a log is sealed by its successor's owner"
                );
                self.epoch = step.epoch();
            }
            Key::Log(log, slot) if log == self.log => {
                debug_assert_eq!(slot, self.holds, "slots become durable in their order");
                self.holds = slot.next();
            }
            _ => {}
        }
        debug_assert!(self.holds <= self.slot, "what is durable was written");
        debug_assert!(self.epoch <= self.log, "nothing is appended to a log that is sealed");
    }

    /// Whether records should go into another object by now.
    fn may_append(&self) -> bool {
        let missing = self.line.missing();
        let is_worth_it = missing < IN_FLIGHT_USUAL
            || self.queue.len() >= BATCH_MIN
            || self.queue_bytes >= OBJECT_BYTES_MAX;
        !self.queue.is_empty()
            && is_worth_it
            && missing < IN_FLIGHT_MAX
            && !self.line.waits_for_seal()
            && self.line.bytes() < IN_FLIGHT_BYTES_MAX
    }

    fn append_queue(&mut self) {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.queue.front().map(Content::bytes)
            && records.len() < RECORDS_MAX
            && (records.is_empty() || bytes + next <= OBJECT_BYTES_MAX)
        {
            bytes += next;
            records.extend(self.queue.pop_front());
        }
        debug_assert!(!records.is_empty(), "an object without records says nothing");
        debug_assert!(bytes <= self.queue_bytes, "each record was counted when it came");
        self.queue_bytes -= bytes;
        debug_assert!(
            !self.queue.is_empty() || self.queue_bytes == 0,
            "bytes that nothing takes up would make everybody wait for ever"
        );
        let durable = self.pushed - self.queue.len() as u64;
        let body = Body::Records { holds: self.holds, records: Arc::new(records) };
        let object = Object { epoch: self.log, nonce: self.nonce, body };
        debug_assert!(self.holds <= self.slot, "durable slots lie before the free one");
        debug_assert!(durable > self.durable, "records are not durable before they are written");
        self.line.push(Key::Log(self.log, self.slot), object, Some(durable), bytes);
        self.slot = self.slot.next();
        self.objects += 1;
        self.bytes += bytes as u64;
    }
}
