//! Writes the log of the coordinator's own epoch: a few objects in flight, each with all records
//! that have come meanwhile.
//!
//! A long log is cut by beginning another epoch: the next licence is taken, the log sealed, and
//! appending goes on in the next log at once. The state at the cut is written beside it
//! ([`Checkpointer`]).
//!
//! A created object counts when the licence was afterwards seen to be the newest; [why](super).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::append_window::AppendWindow;
use super::call::{Answer, Call, CallId, Fenced, JournalError};
use super::checkpointer::{self, Checkpointer};
use super::object::{AttachmentId, Body, Content, Epoch, Key, Nonce, Object, Slot};

/// Limits of records and bytes in one object; a single larger record is allowed.
const RECORDS_MAX: usize = 4_096;
const OBJECT_BYTES_MAX: usize = 4 << 20;

/// Limits of log objects in flight and of their bytes.
const IN_FLIGHT_MAX: usize = 4;
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;

/// With this many objects in flight, another one is sent only with at least `BATCH_MIN` records:
/// each object costs its readers time.
const IN_FLIGHT_USUAL: usize = 2;
const BATCH_MIN: usize = 64;

/// Limits of records and bytes that may wait, before their source has to wait (backpressure).
const BACKLOG_RECORDS_MAX: usize = 65_536;
const BACKLOG_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(
    IN_FLIGHT_USUAL <= IN_FLIGHT_MAX && BATCH_MIN <= RECORDS_MAX,
    "a full object is sent at once"
);
const _: () = assert!(
    RECORDS_MAX * IN_FLIGHT_MAX <= BACKLOG_RECORDS_MAX && IN_FLIGHT_BYTES_MAX <= BACKLOG_BYTES_MAX,
    "the source waits only when all places in flight are taken"
);

/// Appends records. Take each [`next_call`](Self::next_call) until there is none, carry the calls
/// out concurrently, and pass the answers to [`answer`](Self::answer).
#[derive(Clone, Debug)]
pub struct Appender<R, S, P> {
    /// The latest epoch that is certainly ours: another coordinator may win the race for the next
    /// one.
    epoch: Epoch,
    nonce: Nonce,
    /// The log of the next record.
    log: Epoch,
    /// Its next free slot.
    slot: Slot,
    /// How many of its slots are durable.
    holds: Slot,
    /// Whether another process can see the journal.
    is_shared: bool,
    window: AppendWindow<R, S, P>,
    /// How many objects at the front of the window count if the list in flight shows the licence.
    confirming: Option<usize>,
    checkpointer: Checkpointer<R, S, P>,
    /// Records that are not in the window yet.
    queue: VecDeque<R>,
    queue_bytes: usize,
    pushed: u64,
    durable: u64,
    /// Objects since the log was last cut.
    objects: u64,
    bytes: u64,
    calls: BTreeMap<CallId, Asked>,
    last_call: CallId,
}

/// A call in flight.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Object(u64),
    /// A list, to check that this licence is the newest one.
    Newest(Key),
    Checkpointer(checkpointer::Asked),
}

impl<R: Clone + Content, S: Clone, P: Clone> Appender<R, S, P> {
    /// An appender for an epoch that has begun, after sealed logs.
    pub fn new(epoch: Epoch, nonce: Nonce) -> Self {
        Self {
            epoch,
            nonce,
            log: epoch,
            slot: Slot(0),
            holds: Slot(0),
            is_shared: true,
            window: AppendWindow::new(),
            confirming: None,
            checkpointer: Checkpointer::new(epoch, nonce),
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

    /// An appender that writes nothing, since no other process could read it. Records count at
    /// once, and there are no calls.
    pub fn unshared(epoch: Epoch, nonce: Nonce) -> Self {
        Self { is_shared: false, ..Self::new(epoch, nonce) }
    }

    /// Whether another process can see the journal.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The epoch in which the coordinator decides: the latest one that is certainly its own.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Appends a record, and returns its number: 1 for the first, and so on.
    pub fn push(&mut self, record: R) -> u64 {
        debug_assert!(self.is_shared, "an unshared journal takes no records");
        self.queue_bytes += record.bytes();
        self.queue.push_back(record);
        self.pushed += 1;
        debug_assert!(
            self.durable + self.queue.len() as u64 <= self.pushed,
            "a queued record is not durable"
        );
        self.pushed
    }

    /// The number of the latest record.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The watermark: all records up to this number are durable.
    pub fn durable(&self) -> u64 {
        debug_assert!(self.durable <= self.pushed, "only pushed records can be durable");
        self.durable
    }

    /// Objects and bytes since the log was last cut, durable or not.
    pub fn since_cut(&self) -> (u64, u64) {
        (self.objects, self.bytes)
    }

    /// Whether so much waits for the store that no more records should be pushed.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= BACKLOG_RECORDS_MAX
            || self.queue_bytes + self.window.bytes() >= BACKLOG_BYTES_MAX
    }

    /// Whether records wait for the store.
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || !self.window.is_empty()
    }

    /// Writes a large value as an attachment that a record is going to name, but not before the
    /// attachment is [written](Self::next_written). Nothing waits for it meanwhile.
    pub fn write_attachment(&mut self, attachment: Arc<P>) -> AttachmentId {
        self.checkpointer.write(attachment)
    }

    /// The next such attachment that is written.
    pub fn next_written(&mut self) -> Option<AttachmentId> {
        self.checkpointer.next_written()
    }

    /// Stops keeping such an attachment: a record names it, or none ever will.
    pub fn attachment_named(&mut self, attachment: AttachmentId) {
        self.checkpointer.forget(attachment);
    }

    /// Returns the id for an attachment of a state that is about to be written.
    pub fn name_attachment(&mut self) -> AttachmentId {
        self.checkpointer.name_attachment()
    }

    /// Whether another state may be written: not while one is being written.
    pub fn may_write_state(&self) -> bool {
        self.is_shared && !self.checkpointer.is_writing_state()
    }

    /// Writes `state`, which must contain exactly what happened before this epoch. To be called
    /// right after [`new`](Self::new), or not at all. See [`roll`](Self::roll).
    pub fn begin_with(
        &mut self,
        state: Arc<S>,
        named: BTreeSet<AttachmentId>,
        attachments: Vec<(AttachmentId, Arc<P>)>,
    ) {
        debug_assert_eq!((self.log, self.slot), (self.epoch, Slot(0)), "the log is empty");
        // The state waits for the first record: then the epoch is ours.
        self.checkpointer.write_state(self.log, self.window.first(), state, named, attachments);
    }

    /// Begins another epoch with `state`, which contains all records so far. It names the
    /// attachments
    /// `named`, of which those in `attachments` are new.
    pub fn roll(
        &mut self,
        state: Arc<S>,
        named: BTreeSet<AttachmentId>,
        attachments: Vec<(AttachmentId, Arc<P>)>,
    ) {
        debug_assert!(self.may_write_state(), "one state at a time");
        while !self.queue.is_empty() {
            self.append_queue();
        }
        debug_assert_eq!(self.queue_bytes, 0, "all records so far are in the log that ends here");
        debug_assert!(self.holds <= self.slot, "the seal lies after all durable slots");
        let next = self.log.next();
        debug_assert!(self.epoch < next, "a licence is created once");
        let object = |body| Object { epoch: next, nonce: self.nonce, body };
        self.window.push(Key::Epoch(next), object(Body::Begin), None, 0);
        let seal = object(Body::Seal { holds: self.slot });
        let sealed = self.window.push(Key::Log(self.log, self.slot), seal, None, 0);
        (self.log, self.slot, self.holds) = (next, Slot(0), Slot(0));
        (self.objects, self.bytes) = (0, 0);
        self.checkpointer.write_state(next, sealed, state, named, attachments);
    }

    /// The next call to the store, beside those in flight.
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
            self.calls.len() <= IN_FLIGHT_MAX + 1 + checkpointer::CALLS_MAX,
            "calls in flight are bounded"
        );
        Some((self.last_call, call))
    }

    fn next_asked(&mut self) -> Option<(Asked, Call<R, S, P>)> {
        if let Some((number, call)) = self.window.next_call(IN_FLIGHT_MAX) {
            return Some((Asked::Object(number), call));
        }
        if let Some(question) = self.next_question() {
            return Some(question);
        }
        let (asked, call) = self.checkpointer.next_call(self.window.first())?;
        Some((Asked::Checkpointer(asked), call))
    }

    /// A list that shows whether the created objects at the front of the window count.
    fn next_question(&mut self) -> Option<(Asked, Call<R, S, P>)> {
        let there = self.window.there();
        if self.confirming.is_some() {
            return None;
        }
        let last = self.window.get(there.checked_sub(1)?)?;
        let licence = Key::Epoch(last.epoch());
        self.confirming = Some(there);
        Some((Asked::Newest(licence), Call::Licences))
    }

    /// Handles the store's answer to a call. True if more records are durable now.
    ///
    /// # Errors
    /// When another coordinator has taken over, or the journal is damaged. Nothing more must be
    /// appended then.
    pub fn answer(&mut self, id: CallId, answer: Answer<R, S, P>) -> Result<bool, JournalError> {
        let asked = self.calls.remove(&id);
        debug_assert!(asked.is_some(), "each call is answered once");
        match asked {
            Some(Asked::Object(number)) => self.window.answer(number, answer, self.nonce)?,
            Some(Asked::Checkpointer(asked)) => self.checkpointer.answer(asked, answer)?,
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
        debug_assert!(self.confirming.is_some(), "one list is in flight");
        let confirmed = self.confirming.take().unwrap_or(0);
        debug_assert!(
            confirmed <= self.window.there(),
            "created objects stay until they are counted"
        );
        match answer {
            Answer::Refused(message) => Err(JournalError::Refused(message)),
            Answer::Listed(listing) => match listing.epochs.last() {
                Some(&newest) if Key::Epoch(newest) == licence => Ok(self.count(confirmed)),
                // This is the epoch that we are beginning ourselves, unless another coordinator was
                // faster: the creation of the licence tells.
                Some(&by) if Key::Epoch(by) > licence && by <= self.log => Ok(false),
                Some(&by) if Key::Epoch(by) > licence => Err(Fenced { by }.into()),
                _ => Err(JournalError::Unlicensed { licence }),
            },
            _ => Ok(false),
        }
    }

    /// Counts objects at the front of the window as durable, since the epoch was ours when they
    /// were created.
    fn count(&mut self, objects: usize) -> bool {
        debug_assert!(objects <= self.window.there(), "objects that count exist");
        (0..objects).for_each(|_| self.count_first());
        objects > 0
    }

    fn count_first(&mut self) {
        let Some(pending) = self.window.pop() else { return };
        debug_assert!(pending.epoch() >= self.epoch, "epochs only grow");
        if let Some(durable) = pending.durable {
            debug_assert!(durable > self.durable, "records become durable in their order");
            self.durable = durable;
        }
        match pending.key() {
            // We have sealed the log before: no other coordinator can begin in this epoch.
            Key::Log(log, _) if pending.is_seal() => {
                debug_assert_eq!(
                    log.next(),
                    pending.epoch(),
                    "the owner of the next log seals a log"
                );
                self.epoch = pending.epoch();
            }
            Key::Log(log, slot) if log == self.log => {
                debug_assert_eq!(slot, self.holds, "slots become durable in their order");
                self.holds = slot.next();
            }
            _ => {}
        }
        debug_assert!(self.holds <= self.slot, "durable slots are in use");
        debug_assert!(self.epoch <= self.log, "the current log is not sealed");
    }

    /// Whether to send another object now.
    fn may_append(&self) -> bool {
        let missing = self.window.missing();
        let is_worth_it = missing < IN_FLIGHT_USUAL
            || self.queue.len() >= BATCH_MIN
            || self.queue_bytes >= OBJECT_BYTES_MAX;
        !self.queue.is_empty()
            && is_worth_it
            && missing < IN_FLIGHT_MAX
            && !self.window.waits_for_seal()
            && self.window.bytes() < IN_FLIGHT_BYTES_MAX
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
        debug_assert!(!records.is_empty(), "an object has records");
        debug_assert!(bytes <= self.queue_bytes, "each record was counted when it was pushed");
        self.queue_bytes -= bytes;
        debug_assert!(
            !self.queue.is_empty() || self.queue_bytes == 0,
            "an empty queue has no bytes"
        );
        let durable = self.pushed - self.queue.len() as u64;
        let body = Body::Records { holds: self.holds, records: Arc::new(records) };
        let object = Object { epoch: self.log, nonce: self.nonce, body };
        debug_assert!(self.holds <= self.slot, "durable slots lie before the free one");
        debug_assert!(durable > self.durable, "records are written before they are durable");
        self.window.push(Key::Log(self.log, self.slot), object, Some(durable), bytes);
        self.slot = self.slot.next();
        self.objects += 1;
        self.bytes += bytes as u64;
    }
}
