//! Beginning an epoch: a licence of one's own, an end to all logs before, and what they have left.
//!
//! ```text
//!  list --> read, many --> create --------> list --> read what --> seal log/e
//!   ^       at once        epochs/e+1        |       came since     |
//!   |                       | taken          | there is a           | it was void: log/e-1, too
//!   +-----------------------+----------------+ later epoch          v
//!                                              the last state, and the records since
//! ```
//!
//! Looking writes nothing. Who cannot read the journal, because it is damaged or another build's,
//! learns it there, and whoever is in charge stays so. From the licence's creation on, there is no
//! way back: its former owner is fenced, at the latest where it would begin an epoch itself.
//!
//! A log is *void* when it is sealed before it has anything durable. Its owner may still be alive:
//! it will find its first slot taken. A log below is only sealed when all above are void, since
//! only then nobody can sweep it; else it is sealed already, and a look at a new list shows that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::call::{Answer, Call, CallId, JournalError, Listing};
use super::history::{End, History, Seen, Walked};
use super::object::{Body, Content, Epoch, Key, Nonce, Object, PartId, Slot};

/// Reads under way at once.
const READS_MAX: usize = 32;

/// How often an object may be missing that was named a moment ago, because its sweep came in
/// between.
const MISSING_MAX: u32 = 3;

/// Takes over. Ask for the [`next call`](Self::next_call) until there is none, carry the calls out
/// side by side, and tell the [`answer`](Self::answer)s, until one of them returns what was
/// recovered.
#[derive(Clone, Debug)]
pub struct Takeover<R, S, P> {
    nonce: Nonce,
    phase: Phase,
    /// The one to begin, or ours.
    epoch: Epoch,
    listing: Option<Listing>,
    history: History<R, S, P>,
    /// Of objects that were named, and were not there.
    missing: BTreeMap<Key, u32>,
    todo: VecDeque<Todo>,
    calls: BTreeMap<CallId, Todo>,
    last_call: CallId,
}

/// What the journal is being read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To see whether it can be read.
    Look,
    /// It could.
    Begin,
    /// The epoch has begun: what is read counts.
    Take,
}

/// Something to be asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Todo {
    List,
    Read(Key),
    /// Create the licence.
    Begin,
    /// Whose is the licence that we tried to create?
    WhoseLicence,
    /// Create the seal at this name, which says that these slots count.
    Seal(Key, Slot),
    /// What is there instead?
    WhatSealed(Key),
}

/// What the epochs before have left.
#[derive(Clone, Debug)]
pub struct Recovered<R, S, P> {
    /// The epoch that has begun.
    pub epoch: Epoch,
    /// Of its owner.
    pub nonce: Nonce,
    /// The last state; `None` when there was none yet.
    pub snapshot: Option<Arc<S>>,
    /// What happened since, in order.
    pub batches: Vec<Arc<Vec<R>>>,
    /// What they name.
    pub parts: BTreeMap<PartId, Arc<P>>,
}

impl<R, S, P> Recovered<R, S, P> {
    /// A journal in which nothing has happened.
    pub fn empty(epoch: Epoch, nonce: Nonce) -> Self {
        Self { epoch, nonce, snapshot: None, batches: Vec::new(), parts: BTreeMap::new() }
    }
}

impl<R: Clone + Content, S: Clone + Content, P: Clone> Takeover<R, S, P> {
    /// Begins. `nonce` must be fresh.
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

    /// Whether the licence was asked for: from then on, whoever was in charge may be fenced.
    pub fn has_begun(&self) -> bool {
        self.phase != Phase::Look
    }

    /// What the store is to do next, beside all that it is doing.
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
            "looking writes nothing"
        );
        self.last_call.0 += 1;
        self.calls.insert(self.last_call, todo);
        debug_assert!(self.calls.len() <= READS_MAX, "what is under way is bounded");
        Some((self.last_call, call))
    }

    /// What the store has answered to a call. `Some` at the end.
    ///
    /// # Errors
    /// When what is there cannot be gone on with. Unless it was damaged just now, nothing was
    /// written then. Nothing is lost by trying again.
    pub fn answer(
        &mut self,
        id: CallId,
        answer: Answer<R, S, P>,
    ) -> Result<Option<Recovered<R, S, P>>, JournalError> {
        let asked = self.calls.remove(&id);
        debug_assert!(asked.is_some(), "an answer comes once, and to a call");
        let Some(asked) = asked else { return Ok(None) };
        match (asked, answer) {
            (_, Answer::Refused(message)) => return Err(JournalError::Refused(message)),
            (Todo::List, Answer::Listed(listing)) => self.listing = Some(listing),
            (Todo::Read(key) | Todo::WhatSealed(key), Answer::Found(object)) => {
                self.history.add(key, Seen::Whole(object));
            }
            (Todo::Read(key) | Todo::WhatSealed(key), Answer::Damaged { torn, message }) => {
                // Several may break off: those that were in flight as their writer died, and seals
                // whose writers died.
                if !torn || matches!(key, Key::Part(_)) {
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
            // Taken by somebody else, or by nobody who could say so: what was looked at is not the
            // last any more.
            (Todo::WhoseLicence, Answer::Found(_) | Answer::Damaged { .. }) => self.look_again(),
            (Todo::WhoseLicence, Answer::Absent) => self.todo.push_back(Todo::Begin),
            (Todo::Seal(key, holds), Answer::Created) => {
                let body = Body::Seal { holds };
                let seal = Object { epoch: self.epoch, nonce: self.nonce, body };
                self.history.add(key, Seen::Whole(seal));
            }
            // Its owner was faster, or it is ours after all.
            (Todo::Seal(key, _), Answer::Exists | Answer::Failed) => {
                self.todo.push_back(Todo::WhatSealed(key));
            }
            // The seal is asked for again.
            (Todo::WhatSealed(_), Answer::Absent) => {}
            // Failed, or an answer to something else: ask again.
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
        debug_assert!(self.calls.is_empty(), "nothing is read while it is open whose epoch it is");
        debug_assert!(self.epoch > Epoch(0), "the first epoch is 1");
        (self.phase, self.listing) = (Phase::Take, None);
    }

    /// It was swept since it was listed. One that is named again and again, and is never there, was
    /// taken away.
    fn is_missing(&mut self, key: Key) -> Result<(), JournalError> {
        self.listing = None;
        let times = self.missing.entry(key).or_default();
        *times += 1;
        if *times > MISSING_MAX {
            return Err(JournalError::Damaged { key, message: "it is missing".to_string() });
        }
        Ok(())
    }

    /// All that was asked for is answered: what is next?
    fn go_on(&mut self) -> Result<Option<Recovered<R, S, P>>, JournalError> {
        let Some(listing) = &self.listing else {
            self.todo.push_back(Todo::List);
            return Ok(None);
        };
        let newest = listing.epochs.last().copied().unwrap_or_default();
        if self.phase == Phase::Take && newest != self.epoch {
            // Our licence was one that had been swept before we created it, or was swept since:
            // others are in charge.
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
        debug_assert!(self.has_begun(), "nothing is recovered for an epoch that may be another's");
        Ok(Some(self.recovered(snapshot, logs)))
    }

    /// The newest state that is whole. One that breaks off was never relied on: what it sums up is
    /// still there.
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

    /// Has all listed slots read that were not read yet. False if there are none.
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

    /// Has all parts read that are named and were not read yet. False if there are none.
    fn read_parts(&mut self, snapshot: Option<&S>, logs: &[(Epoch, Walked<R>)]) -> bool {
        let named = named_parts(snapshot, logs).into_iter().map(Key::Part);
        let unread = named.filter(|key| !self.history.knows(*key)).map(Todo::Read);
        self.todo.extend(unread);
        !self.todo.is_empty()
    }

    /// Has the newest log sealed that is not, if it must be. False if there is none.
    fn seal_logs(&mut self, logs: &[(Epoch, Walked<R>)]) -> Result<bool, JournalError> {
        let mut all_void = true;
        for (log, walked) in logs.iter().rev() {
            if let End::Open(slot) = walked.end {
                debug_assert!(walked.holds <= slot, "what counts lies before the end");
                debug_assert!(*log < self.epoch, "one's own log is never sealed by taking over");
                debug_assert!(self.has_begun(), "whoever is in charge is not fenced by a look");
                if all_void {
                    self.todo.push_back(Todo::Seal(Key::Log(*log, slot), walked.holds));
                } else {
                    // Its owner has sealed it before it went on in the next log.
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
            "nothing may be added to what was recovered"
        );
        debug_assert!(
            logs.iter().zip(logs.iter().skip(1)).all(|((a, _), (b, _))| a.next() == *b),
            "history has no gaps"
        );
        let part = |id| match self.history.get(Key::Part(id)) {
            Some(Seen::Whole(Object { body: Body::Part(part), .. })) => Some((id, part.clone())),
            _ => None,
        };
        let named = named_parts(snapshot.as_deref(), &logs);
        let count = named.len();
        let parts: BTreeMap<_, _> = named.into_iter().filter_map(part).collect();
        debug_assert_eq!(parts.len(), count, "what is named is needed, and was read");
        let batches = logs.into_iter().flat_map(|(_, walked)| walked.batches).collect();
        Recovered { epoch: self.epoch, nonce: self.nonce, snapshot, batches, parts }
    }
}

/// What is known of the newest state.
enum State<S> {
    /// This is to be read first.
    Read(Key),
    /// The history goes on with this log, in this state.
    Known(Epoch, Option<Arc<S>>),
}

fn named_parts<R: Content, S: Content>(
    snapshot: Option<&S>,
    logs: &[(Epoch, Walked<R>)],
) -> BTreeSet<PartId> {
    let mut named = BTreeSet::new();
    let mut name = |part| {
        named.insert(part);
    };
    if let Some(state) = snapshot {
        state.name_parts(&mut name);
    }
    for record in logs.iter().flat_map(|(_, walked)| &walked.batches).flat_map(|batch| &**batch) {
        record.name_parts(&mut name);
    }
    named
}
