//! Beginning an epoch: a number of one's own, an end to all epochs before, and what they have left.
//!
//! ```text
//!  last epoch? -> look at log/e -> create epochs/e+1 -> read what came since, seal log/e at its first free slot
//!       ^                            |  taken              |  it began without a state: read and seal log/e-1, too
//!       +----------------------------+                     v
//!                                                   the last state, and the records since
//! ```
//!
//! Looking writes nothing. Who cannot read the journal, because it is damaged or another build's, learns it there, and whoever
//! is in charge stays so. From the epoch's creation on, there is no way back: its former owner is fenced, at the latest where
//! it would begin an epoch itself.
//!
//! An epoch that was begun, but died before it had written its state, is sealed at slot 0, and the one before counts. Its
//! owner may still be alive: it will find its slot taken.

use std::sync::Arc;

use super::call::{Answer, Call, JournalError};
use super::object::{Body, Epoch, Key, Nonce, Object, Slot};

/// Takes over. Ask for the [`call`](Self::call), carry it out, tell the [`answer`](Self::answer), until that returns what was
/// recovered.
#[derive(Clone, Debug)]
pub struct Takeover<R, S> {
    nonce: Nonce,
    state: State,
    /// Ours, as soon as it has begun.
    epoch: Epoch,
    phase: Phase,
    snapshot: Option<Arc<S>>,
    batches: Vec<Arc<Vec<R>>>,
    /// The first object that breaks off, after which nothing whole was found yet.
    torn: Option<(Key, String)>,
}

/// What reading is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Whether all of it can be read.
    Look,
    /// It could. The log that counts ended here; there is none in a new journal.
    Looked(Option<(Epoch, Slot)>),
    /// The epoch has begun: what is read counts.
    Take,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum State {
    FindLast,
    Begin,
    /// Whose is the epoch that we tried to begin?
    WhoseEpoch,
    Read(Epoch, Slot),
    Seal(Epoch, Slot),
}

/// What the epochs before have left.
#[derive(Clone, Debug)]
pub struct Recovered<R, S> {
    /// The epoch that has begun.
    pub epoch: Epoch,
    /// Of its owner.
    pub nonce: Nonce,
    /// The last state; `None` when the journal is new.
    pub snapshot: Option<Arc<S>>,
    /// What happened since, in order.
    pub batches: Vec<Arc<Vec<R>>>,
}

impl<R: Clone, S: Clone> Takeover<R, S> {
    /// Begins. `nonce` must be fresh.
    pub fn new(nonce: Nonce) -> Self {
        Self {
            nonce,
            state: State::FindLast,
            epoch: Epoch::default(),
            phase: Phase::Look,
            snapshot: None,
            batches: Vec::new(),
            torn: None,
        }
    }

    /// What the store is to do next.
    pub fn call(&self) -> Call<R, S> {
        let object = |body| Object { epoch: self.epoch, nonce: self.nonce, body };
        match self.state {
            State::FindLast => Call::LastEpoch,
            State::Begin => Call::Create(Key::Epoch(self.epoch), object(Body::Begin)),
            State::WhoseEpoch => Call::Read(Key::Epoch(self.epoch)),
            State::Read(of, slot) => Call::Read(Key::Log(of, slot)),
            State::Seal(of, slot) => Call::Create(Key::Log(of, slot), object(Body::Seal)),
        }
    }

    /// What the store has answered. `Some` at the end.
    ///
    /// # Errors
    /// When what is there cannot be gone on with. Unless it was damaged just now, nothing was written then. Nothing is lost by
    /// trying again.
    pub fn answer(
        &mut self,
        answer: Answer<R, S>,
    ) -> Result<Option<Recovered<R, S>>, JournalError> {
        match (self.state, answer) {
            (_, Answer::Refused(message)) => return Err(JournalError::Refused(message)),
            (State::FindLast, Answer::LastEpoch(last)) => {
                self.epoch = last.unwrap_or_default().next();
                self.forget();
                self.phase = Phase::Look;
                return Ok(self.read_epoch_before(self.epoch));
            }
            (State::Begin, Answer::Created) => return Ok(self.begun()),
            (State::Begin, Answer::Exists | Answer::Failed) => self.state = State::WhoseEpoch,
            (State::WhoseEpoch, Answer::Found(object)) if object.nonce == self.nonce => {
                return Ok(self.begun());
            }
            // Taken by somebody else, or by nobody who could say so: what was looked at is not the last any more.
            (State::WhoseEpoch, Answer::Found(_) | Answer::Damaged { .. }) => {
                self.state = State::FindLast;
            }
            (State::WhoseEpoch, Answer::Absent) => self.state = State::Begin,
            (State::Read(of, slot), Answer::Found(object)) => return self.found(of, slot, object),
            (State::Read(of, slot), Answer::Damaged { torn, message }) => {
                self.damaged(of, slot, torn, message)?;
            }
            (State::Read(of, slot), Answer::Absent) if self.phase == Phase::Take => {
                self.state = State::Seal(of, slot);
            }
            (State::Read(of, slot), Answer::Absent) => return Ok(self.log_ends(of, slot)),
            (State::Seal(of, slot), Answer::Created) => return Ok(self.log_ends(of, slot)),
            // Its owner was faster, or it is ours after all.
            (State::Seal(of, slot), Answer::Exists | Answer::Failed) => {
                self.state = State::Read(of, slot);
            }
            // Failed, or an answer to something else: ask again.
            _ => {}
        }
        Ok(None)
    }

    fn found(
        &mut self,
        of: Epoch,
        slot: Slot,
        object: Object<R, S>,
    ) -> Result<Option<Recovered<R, S>>, JournalError> {
        let confused = |message: &str| {
            Err(JournalError::Confused { key: Key::Log(of, slot), message: message.to_string() })
        };
        match (object.body, self.torn.take()) {
            // What broke off was never acknowledged: its writer would have gone on after it.
            (Body::Seal, _) => return Ok(self.log_ends(of, slot)),
            (_, Some((key, message))) => return Err(JournalError::Damaged { key, message }),
            _ if object.epoch != of => return confused("it belongs to another epoch"),
            (Body::Snapshot(state), None) if slot == Slot(0) => self.snapshot = Some(state),
            (Body::Records(records), None) if self.snapshot.is_some() => self.batches.push(records),
            _ => return confused("a log begins with a state, and goes on with records"),
        }
        self.state = State::Read(of, slot.next());
        Ok(None)
    }

    fn damaged(
        &mut self,
        of: Epoch,
        slot: Slot,
        torn: bool,
        message: String,
    ) -> Result<(), JournalError> {
        let key = Key::Log(of, slot);
        if !torn {
            return Err(JournalError::Damaged { key, message });
        }
        // Several may break off: the first as its writer died, the others as those died who wanted to seal the log after it.
        self.torn.get_or_insert((key, message));
        self.state = State::Read(of, slot.next());
        Ok(())
    }

    /// The log of `of` ends at `slot`: it is sealed there, or is being looked at. If it began with a state, that is it; else
    /// the epoch before counts.
    fn log_ends(&mut self, of: Epoch, slot: Slot) -> Option<Recovered<R, S>> {
        if self.snapshot.is_none() {
            self.torn = None;
            return self.read_epoch_before(of);
        }
        self.reading_ends(Some((of, slot)))
    }

    fn read_epoch_before(&mut self, epoch: Epoch) -> Option<Recovered<R, S>> {
        if epoch <= Epoch(1) {
            return self.reading_ends(None);
        }
        self.state = State::Read(Epoch(epoch.0 - 1), Slot(0));
        None
    }

    fn reading_ends(&mut self, at: Option<(Epoch, Slot)>) -> Option<Recovered<R, S>> {
        if self.phase == Phase::Take {
            return Some(self.recovered());
        }
        self.phase = Phase::Looked(at);
        self.state = State::Begin;
        None
    }

    /// Objects do not change, so that what was looked at need not be read again, if the epoch before is that which counts. Else,
    /// that one's owner may have written its state meanwhile.
    fn begun(&mut self) -> Option<Recovered<R, S>> {
        match std::mem::replace(&mut self.phase, Phase::Take) {
            Phase::Looked(Some((of, slot))) if of.next() == self.epoch => {
                self.state = State::Read(of, slot);
                None
            }
            _ => {
                self.forget();
                self.read_epoch_before(self.epoch)
            }
        }
    }

    fn forget(&mut self) {
        self.snapshot = None;
        self.batches.clear();
        self.torn = None;
    }

    fn recovered(&mut self) -> Recovered<R, S> {
        Recovered {
            epoch: self.epoch,
            nonce: self.nonce,
            snapshot: self.snapshot.take(),
            batches: std::mem::take(&mut self.batches),
        }
    }
}
