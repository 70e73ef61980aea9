//! Takeover: begins an epoch with a licence, seals all logs before, and recovers their records.
//!
//! ```text
//!  list --> read, many --> create --------> list --> read what --> seal log/e
//!   ^       at once        epochs/e+1        |       came since     |
//!   |                       | taken          | there is a           | it was void: log/e-1, too
//!   +-----------------------+----------------+ later epoch          v
//!                                              the last state, and the records since
//! ```
//!
//! The first look writes nothing. A coordinator that cannot read the journal, because it is damaged
//! or from another build, stops there, and its predecessor stays in charge. From the creation of
//! the licence on, the predecessor is fenced, at the latest when it begins an epoch itself.
//!
//! A log is *void* if it was sealed before it had a durable record. Its owner may still live: it
//! will find its first slot taken. A log is sealed only if all logs above it are void, since
//! otherwise their owners may have swept it; and otherwise it is sealed already, as a new list will
//! show.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::call::{Answer, Call, CallId, JournalError, Listing};
use super::history::{End, History, Seen, Walked};
use super::object::{AttachmentId, Body, Content, Epoch, Key, Nonce, Object, Slot};

/// Limit of calls in flight.
const READS_MAX: usize = 32;

/// How often a named object may be missing, because a sweep deleted it in the meantime.
const MISSING_MAX: u32 = 3;

/// Takes over. Take each [`next_call`](Self::next_call) until there is none, carry the calls out
/// concurrently, and pass the answers to [`answer`](Self::answer), until it returns what was
/// recovered.
#[derive(Clone, Debug)]
pub struct Takeover<R, S, P> {
    nonce: Nonce,
    phase: Phase,
    /// The epoch to begin, or ours once it has begun.
    epoch: Epoch,
    listing: Option<Listing>,
    history: History<R, S, P>,
    /// How often each named object was missing.
    missing: BTreeMap<Key, u32>,
    todo: VecDeque<Todo>,
    calls: BTreeMap<CallId, Todo>,
    last_call: CallId,
}

/// The phases of a takeover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Read the journal, to see whether it can be read.
    Look,
    /// Create the licence.
    Begin,
    /// The epoch has begun: seal the open logs and recover.
    Take,
}

/// A call to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Todo {
    List,
    Read(Key),
    /// Create the licence.
    Begin,
    /// Read back the licence after an ambiguous write.
    WhoseLicence,
    /// Create a seal under this key, by which this many slots count.
    Seal(Key, Slot),
    /// Read back the slot after an ambiguous write of a seal.
    WhatSealed(Key),
}

/// The recovered history of all earlier epochs.
#[derive(Clone, Debug)]
pub struct Recovered<R, S, P> {
    /// The epoch that has begun.
    pub epoch: Epoch,
    /// The nonce of its owner.
    pub nonce: Nonce,
    /// The newest state; `None` if there was none yet.
    pub snapshot: Option<Arc<S>>,
    /// The records since, in order.
    pub batches: Vec<Arc<Vec<R>>>,
    /// The attachments that they name.
    pub attachments: BTreeMap<AttachmentId, Arc<P>>,
}

impl<R, S, P> Recovered<R, S, P> {
    /// A history in which nothing has happened.
    pub fn empty(epoch: Epoch, nonce: Nonce) -> Self {
        Self { epoch, nonce, snapshot: None, batches: Vec::new(), attachments: BTreeMap::new() }
    }
}

impl<R: Clone + Content, S: Clone + Content, P: Clone> Takeover<R, S, P> {
    /// Begins a takeover. `nonce` must be fresh.
    pub fn new(nonce: Nonce) -> Self {
        Self {
            nonce,
            phase: Phase::Look,
            epoch: Epoch::default(),
            listing: None,
            history: History::new(),
            missing: BTreeMap::new(),
            todo: [Todo::List].into(),
            calls: BTreeMap::new(),
            last_call: CallId(0),
        }
    }

    /// Whether the creation of the licence was sent: from then on, the predecessor may be fenced.
    pub fn has_begun(&self) -> bool {
        self.phase != Phase::Look
    }

    /// The next call to the store, beside those in flight.
    pub fn next_call(&mut self) -> Option<(CallId, Call<R, S, P>)> {
        if self.calls.len() >= READS_MAX {
            return None;
        }
        let todo = self.todo.pop_front()?;
        let object = |body| Object { epoch: self.epoch, nonce: self.nonce, body };
        let call = match todo {
            Todo::List => Call::List,
            Todo::Read(key) | Todo::WhatSealed(key) => Call::Read(key),
            Todo::Begin => Call::Create(Key::Epoch(self.epoch), object(Body::Begin)),
            Todo::WhoseLicence => Call::Read(Key::Epoch(self.epoch)),
            Todo::Seal(key, holds) => Call::Create(key, object(Body::Seal { holds })),
        };
        debug_assert!(
            self.has_begun() || !matches!(call, Call::Create(..) | Call::Sweep(_)),
            "the first look writes nothing"
        );
        self.last_call.0 += 1;
        self.calls.insert(self.last_call, todo);
        debug_assert!(self.calls.len() <= READS_MAX, "calls in flight are bounded");
        Some((self.last_call, call))
    }

    /// Handles the store's answer to a call. `Some` at the end.
    ///
    /// # Errors
    /// When the journal cannot be used. Nothing was written then, unless it was damaged just now. A
    /// retry loses nothing.
    pub fn answer(
        &mut self,
        id: CallId,
        answer: Answer<R, S, P>,
    ) -> Result<Option<Recovered<R, S, P>>, JournalError> {
        let asked = self.calls.remove(&id);
        debug_assert!(asked.is_some(), "each call is answered once");
        let Some(asked) = asked else { return Ok(None) };
        match (asked, answer) {
            (_, Answer::Refused(message)) => return Err(JournalError::Refused(message)),
            (Todo::List, Answer::Listed(listing)) => self.listing = Some(listing),
            (Todo::Read(key) | Todo::WhatSealed(key), Answer::Found(object)) => {
                self.history.add(key, Seen::Whole(object));
            }
            (Todo::Read(key) | Todo::WhatSealed(key), Answer::Damaged { torn, message }) => {
                // Several writes may be torn: those in flight when their writer died, and seals
                // whose writers died.
                if !torn || matches!(key, Key::Attachment(_)) {
                    return Err(JournalError::Damaged { key, message });
                }
                self.history.add(key, Seen::Torn(message));
            }
            (Todo::Read(key), Answer::Absent) => self.is_missing(key)?,
            (Todo::Begin, Answer::Created) => self.begun(),
            (Todo::Begin, Answer::Exists | Answer::Failed) => {
                self.todo.push_back(Todo::WhoseLicence);
            }
            (Todo::WhoseLicence, Answer::Found(object)) if object.nonce == self.nonce => {
                self.begun();
            }
            // Another coordinator has the licence, or its write was torn: the list is outdated.
            (Todo::WhoseLicence, Answer::Found(_) | Answer::Damaged { .. }) => self.look_again(),
            (Todo::WhoseLicence, Answer::Absent) => self.todo.push_back(Todo::Begin),
            (Todo::Seal(key, holds), Answer::Created) => {
                let body = Body::Seal { holds };
                let seal = Object { epoch: self.epoch, nonce: self.nonce, body };
                self.history.add(key, Seen::Whole(seal));
            }
            // The log's owner was faster, or the seal is ours after all.
            (Todo::Seal(key, _), Answer::Exists | Answer::Failed) => {
                self.todo.push_back(Todo::WhatSealed(key));
            }
            // The seal is created again.
            (Todo::WhatSealed(_), Answer::Absent) => {}
            // The call failed, or the answer does not fit: retry.
            (asked, _) => self.todo.push_back(asked),
        }
        if self.calls.is_empty() && self.todo.is_empty() {
            return self.go_on();
        }
        Ok(None)
    }

    fn look_again(&mut self) {
        (self.phase, self.listing) = (Phase::Look, None);
    }

    fn begun(&mut self) {
        debug_assert_eq!(self.phase, Phase::Begin, "an epoch begins after a look");
        debug_assert!(self.calls.is_empty(), "nothing is read while the licence is being created");
        debug_assert!(self.epoch > Epoch(0), "the first epoch is 1");
        (self.phase, self.listing) = (Phase::Take, None);
    }

    /// Handles a missing object: it was swept after it was listed. An object that is named again
    /// and again but always missing was removed by something else.
    fn is_missing(&mut self, key: Key) -> Result<(), JournalError> {
        self.listing = None;
        let times = self.missing.entry(key).or_default();
        *times += 1;
        if *times > MISSING_MAX {
            return Err(JournalError::Damaged { key, message: "it is missing".to_string() });
        }
        Ok(())
    }

    /// Decides on the next calls when all are answered.
    fn go_on(&mut self) -> Result<Option<Recovered<R, S, P>>, JournalError> {
        let Some(listing) = &self.listing else {
            self.todo.push_back(Todo::List);
            return Ok(None);
        };
        let newest = listing.epochs.last().copied().unwrap_or_default();
        if self.phase == Phase::Take && newest != self.epoch {
            // Our licence was swept, before or after we created it: another coordinator is in
            // charge.
            self.phase = Phase::Look;
        }
        if self.phase == Phase::Look {
            self.epoch = newest.next();
        }
        let (first, snapshot) = match self.last_state()? {
            State::Read(key) => {
                self.todo.push_back(Todo::Read(key));
                return Ok(None);
            }
            State::Known(first, snapshot) => (first, snapshot),
        };
        if self.read_logs(first) {
            return Ok(None);
        }
        let logs = self.walk_logs(first)?;
        if self.read_parts(snapshot.as_deref(), &logs) {
            return Ok(None);
        }
        if self.phase != Phase::Take {
            self.phase = Phase::Begin;
            self.todo.push_back(Todo::Begin);
            return Ok(None);
        }
        if self.seal_logs(&logs)? {
            return Ok(None);
        }
        debug_assert!(self.has_begun(), "the recovered epoch is ours");
        Ok(Some(self.recovered(snapshot, logs)))
    }

    /// The newest whole state. A torn one was never relied on: what it sums up still exists.
    fn last_state(&self) -> Result<State<S>, JournalError> {
        let Some(listing) = &self.listing else { return Ok(State::Known(Epoch(1), None)) };
        for &epoch in listing.states.iter().rev().filter(|epoch| **epoch < self.epoch) {
            let key = Key::State(epoch);
            match self.history.get(key) {
                None => return Ok(State::Read(key)),
                Some(Seen::Torn(_)) => {}
                Some(Seen::Whole(Object { body: Body::State(state), epoch: of, .. }))
                    if *of == epoch =>
                {
                    return Ok(State::Known(epoch, Some(Arc::clone(state))));
                }
                Some(Seen::Whole(_)) => {
                    let message = "it is not the state of this epoch".to_string();
                    return Err(JournalError::Confused { key, message });
                }
            }
        }
        let first = listing.epochs.first().copied().unwrap_or(self.epoch);
        if first > Epoch(1) {
            let message = "it is missing, and so is what it was made from".to_string();
            return Err(JournalError::Damaged { key: Key::State(first), message });
        }
        Ok(State::Known(Epoch(1), None))
    }

    /// Reads all listed slots that were not read yet. False if there are none.
    fn read_logs(&mut self, first: Epoch) -> bool {
        let slots = self.listing.iter().flat_map(|listing| &listing.slots);
        let counts = slots.filter(|(log, _)| (first..self.epoch).contains(log));
        let keys = counts.map(|&(log, slot)| Key::Log(log, slot));
        let unread = keys.filter(|key| !self.history.knows(*key)).map(Todo::Read);
        self.todo.extend(unread);
        !self.todo.is_empty()
    }

    fn walk_logs(&self, first: Epoch) -> Result<Vec<(Epoch, Walked<R>)>, JournalError> {
        let logs = (first.0..self.epoch.0).map(Epoch);
        logs.map(|log| Ok((log, self.history.walk(log)?))).collect()
    }

    /// Reads all named attachments that were not read yet. False if there are none.
    fn read_parts(&mut self, snapshot: Option<&S>, logs: &[(Epoch, Walked<R>)]) -> bool {
        let named = named_parts(snapshot, logs).into_iter().map(Key::Attachment);
        let unread = named.filter(|key| !self.history.knows(*key)).map(Todo::Read);
        self.todo.extend(unread);
        !self.todo.is_empty()
    }

    /// Seals the newest open log, if there is one. False if there is none.
    fn seal_logs(&mut self, logs: &[(Epoch, Walked<R>)]) -> Result<bool, JournalError> {
        let mut all_void = true;
        for (log, walked) in logs.iter().rev() {
            if let End::Open(slot) = walked.end {
                debug_assert!(walked.holds <= slot, "slots that count lie before the end");
                debug_assert!(*log < self.epoch, "a takeover does not seal its own log");
                debug_assert!(self.has_begun(), "the first look does not fence the predecessor");
                if all_void {
                    self.todo.push_back(Todo::Seal(Key::Log(*log, slot), walked.holds));
                } else {
                    // Its owner had sealed it before it began the next log.
                    self.is_missing(Key::Log(*log, slot))?;
                    self.todo.push_back(Todo::List);
                }
                return Ok(true);
            }
            all_void &= walked.is_void();
        }
        Ok(false)
    }

    fn recovered(
        &self,
        snapshot: Option<Arc<S>>,
        logs: Vec<(Epoch, Walked<R>)>,
    ) -> Recovered<R, S, P> {
        debug_assert!(
            logs.iter().all(|(_, walked)| walked.end == End::Sealed),
            "every recovered log is sealed"
        );
        debug_assert!(
            logs.iter().zip(logs.iter().skip(1)).all(|((a, _), (b, _))| a.next() == *b),
            "history has no gaps"
        );
        let attachment = |id| match self.history.get(Key::Attachment(id)) {
            Some(Seen::Whole(Object { body: Body::Attachment(attachment), .. })) => {
                Some((id, attachment.clone()))
            }
            _ => None,
        };
        let named = named_parts(snapshot.as_deref(), &logs);
        let count = named.len();
        let attachments: BTreeMap<_, _> = named.into_iter().filter_map(attachment).collect();
        debug_assert_eq!(attachments.len(), count, "all named attachments were read");
        let batches = logs.into_iter().flat_map(|(_, walked)| walked.batches).collect();
        Recovered { epoch: self.epoch, nonce: self.nonce, snapshot, batches, attachments }
    }
}

/// The state of the search for the newest state.
enum State<S> {
    /// This object must be read first.
    Read(Key),
    /// History continues with this log, from this state.
    Known(Epoch, Option<Arc<S>>),
}

fn named_parts<R: Content, S: Content>(
    snapshot: Option<&S>,
    logs: &[(Epoch, Walked<R>)],
) -> BTreeSet<AttachmentId> {
    let mut named = BTreeSet::new();
    let mut name = |attachment| {
        named.insert(attachment);
    };
    if let Some(state) = snapshot {
        state.name_attachments(&mut name);
    }
    for record in logs.iter().flat_map(|(_, walked)| &walked.batches).flat_map(|batch| &**batch) {
        record.name_attachments(&mut name);
    }
    named
}
