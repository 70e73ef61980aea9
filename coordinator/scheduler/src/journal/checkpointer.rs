//! Writes and deletes objects beside the log: parts, the state with which an epoch begins, and
//! objects that are not needed any more.
//!
//! Appends never wait for it. A state is written once all records that it sums up and all its parts
//! are durable; its predecessor is deleted after that. So it may take any time, be interrupted
//! anywhere, or be repeated by a fenced coordinator: a state only repeats the logs below it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::call::{Answer, Call, JournalError, Sweep, SweepStage};
use super::object::{Body, Epoch, Key, Nonce, Object, PartId};
use super::put_if_absent::PutIfAbsent;

/// Limit of parts in flight.
const PARTS_IN_FLIGHT_MAX: usize = 4;
/// Limit of calls in flight: parts, a state, and a sweep.
pub(super) const CALLS_MAX: usize = PARTS_IN_FLIGHT_MAX + 2;

/// A call in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Part(PartId),
    State,
    Sweep,
}

/// Writes parts and states, and sweeps.
#[derive(Clone, Debug)]
pub(super) struct Checkpointer<R, S, P> {
    nonce: Nonce,
    /// The next part.
    next: PartId,
    /// Parts that are not written yet.
    parts: BTreeMap<PartId, PutIfAbsent<R, S, P>>,
    /// Parts that a record is going to name, but none does durably yet.
    unnamed: BTreeSet<PartId>,
    /// Those of `unnamed` that are written, and were not reported yet.
    written: VecDeque<PartId>,
    snapshot: Option<Snapshot<R, S, P>>,
    sweep: Option<Sweep>,
    is_sweeping: bool,
    /// The next sweep after the current one.
    next_sweep: Option<Sweep>,
}

/// A state that is being written.
#[derive(Clone, Debug)]
struct Snapshot<R, S, P> {
    /// The object of the append window that must be durable first.
    after: u64,
    state: PutIfAbsent<R, S, P>,
    /// Its parts that are not written yet.
    waits_for: BTreeSet<PartId>,
    keep: BTreeSet<PartId>,
    parts_below: PartId,
}

impl<R: Clone, S: Clone, P: Clone> Checkpointer<R, S, P> {
    pub(super) fn new(epoch: Epoch, nonce: Nonce) -> Self {
        Self {
            nonce,
            next: PartId { epoch, number: 0 },
            parts: BTreeMap::new(),
            unnamed: BTreeSet::new(),
            written: VecDeque::new(),
            snapshot: None,
            sweep: None,
            is_sweeping: false,
            next_sweep: None,
        }
    }

    /// Returns the id for a part of a state that is about to be written.
    pub(super) fn name_part(&mut self) -> PartId {
        let id = self.next;
        self.next.number += 1;
        id
    }

    /// Writes a part that a record is going to name. It is kept until it is [named](Self::forget).
    pub(super) fn write(&mut self, part: Arc<P>) -> PartId {
        let id = self.name_part();
        self.unnamed.insert(id);
        self.add_part(id, part);
        id
    }

    /// The next such part that is written.
    pub(super) fn next_written(&mut self) -> Option<PartId> {
        self.written.pop_front()
    }

    /// Stops keeping such a part: a record names it, or none ever will.
    pub(super) fn forget(&mut self, part: PartId) {
        let was_there = self.unnamed.remove(&part);
        debug_assert!(was_there, "a part is named once");
    }

    fn add_part(&mut self, id: PartId, part: Arc<P>) {
        let object = Object { epoch: self.next.epoch, nonce: self.nonce, body: Body::Part(part) };
        debug_assert!(id < self.next, "an id is given before it is used");
        let before = self.parts.insert(id, PutIfAbsent::new(Key::Part(id), object));
        debug_assert!(before.is_none(), "an id is used once");
    }

    /// Whether a state is being written: another one must wait.
    pub(super) fn is_writing_state(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Writes the state with which `epoch` begins, once the object `after` of the append window is
    /// durable. `named`: the parts that it names; `parts`: the new ones among them.
    pub(super) fn write_state(
        &mut self,
        epoch: Epoch,
        after: u64,
        state: Arc<S>,
        named: BTreeSet<PartId>,
        parts: Vec<(PartId, Arc<P>)>,
    ) {
        debug_assert!(self.snapshot.is_none(), "one state at a time");
        debug_assert!(
            parts.iter().all(|(id, _)| named.contains(id)),
            "a state names its new parts"
        );
        debug_assert!(epoch >= self.next.epoch, "a coordinator writes states of its own epochs");
        debug_assert!(
            named.last().is_none_or(|last| *last < self.next),
            "a named part is older than the next one"
        );
        debug_assert!(
            self.sweep.iter().chain(&self.next_sweep).all(|sweep| sweep.below < epoch),
            "a pending sweep is of an older state"
        );
        let object = Object { epoch, nonce: self.nonce, body: Body::State(state) };
        let waits_for = parts.iter().map(|(id, _)| *id).collect();
        for (id, part) in parts {
            self.add_part(id, part);
        }
        let keep = named.into_iter().chain(self.unnamed.iter().copied()).collect();
        self.snapshot = Some(Snapshot {
            after,
            state: PutIfAbsent::new(Key::State(epoch), object),
            waits_for,
            keep,
            parts_below: self.next,
        });
    }

    /// The next call to the store. All objects of the append window before `durable` are durable.
    pub(super) fn next_call(&mut self, durable: u64) -> Option<(Asked, Call<R, S, P>)> {
        if let Some((id, call)) = self.next_part(durable) {
            return Some((Asked::Part(id), call));
        }
        if let Some(snapshot) = &mut self.snapshot
            && snapshot.after < durable
            && snapshot.waits_for.is_empty()
            && let Some(call) = snapshot.state.next_call()
        {
            return Some((Asked::State, call));
        }
        let sweep = self.sweep.clone().filter(|_| !self.is_sweeping)?;
        self.is_sweeping = true;
        Some((Asked::Sweep, Call::Sweep(sweep)))
    }

    fn next_part(&mut self, durable: u64) -> Option<(PartId, Call<R, S, P>)> {
        let in_flight = self.parts.values().filter(|part| part.is_asked()).count();
        if in_flight >= PARTS_IN_FLIGHT_MAX {
            return None;
        }
        // Parts of a state wait like the state itself: a fenced coordinator need not write them.
        let too_early = |id: &PartId| {
            let is_of_state = |snapshot: &Snapshot<_, _, _>| {
                snapshot.after >= durable && snapshot.waits_for.contains(id)
            };
            self.snapshot.as_ref().is_some_and(is_of_state)
        };
        let mut parts = self.parts.iter_mut().filter(|(id, _)| !too_early(id));
        parts.find_map(|(id, part)| Some((*id, part.next_call()?)))
    }

    /// Handles an answer of the store.
    pub(super) fn answer(
        &mut self,
        asked: Asked,
        answer: Answer<R, S, P>,
    ) -> Result<(), JournalError> {
        match asked {
            Asked::Part(id) => self.part_answered(id, answer)?,
            Asked::State => {
                debug_assert!(self.snapshot.is_some(), "the state is being written");
                if let Some(snapshot) = &mut self.snapshot {
                    snapshot.state.answer(answer, self.nonce)?;
                }
                self.begin_sweep();
            }
            Asked::Sweep => {
                debug_assert!(self.is_sweeping, "each call is answered once");
                self.is_sweeping = false;
                match answer {
                    Answer::Refused(message) => return Err(JournalError::Refused(message)),
                    Answer::Swept => self.swept(),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn part_answered(&mut self, id: PartId, answer: Answer<R, S, P>) -> Result<(), JournalError> {
        debug_assert!(self.parts.contains_key(&id), "the part is being written");
        let Some(part) = self.parts.get_mut(&id) else { return Ok(()) };
        part.answer(answer, self.nonce)?;
        if part.is_there() {
            self.parts.remove(&id);
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.waits_for.remove(&id);
            }
            if self.unnamed.contains(&id) {
                self.written.push_back(id);
            }
        }
        Ok(())
    }

    /// Begins to sweep older objects once the state is written.
    fn begin_sweep(&mut self) {
        let is_there = |snapshot: &mut Snapshot<_, _, _>| snapshot.state.is_there();
        let Some(snapshot) = self.snapshot.take_if(is_there) else { return };
        debug_assert!(snapshot.waits_for.is_empty(), "a state is written after its parts");
        debug_assert!(
            snapshot
                .keep
                .iter()
                .all(|part| !self.parts.contains_key(part) || self.unnamed.contains(part)),
            "the parts of a written state are written"
        );
        let (keep, parts_below) = (Arc::new(snapshot.keep), snapshot.parts_below);
        let stage = SweepStage::Licences { keep, parts_below };
        let sweep = Sweep { below: snapshot.state.object.epoch, stage };
        if self.sweep.is_none() {
            self.sweep = Some(sweep);
        } else {
            self.next_sweep = Some(sweep);
        }
    }

    fn swept(&mut self) {
        debug_assert!(self.sweep.is_some(), "a sweep was in flight");
        let Some(done) = self.sweep.take() else { return };
        debug_assert!(
            self.next_sweep.as_ref().is_none_or(|next| next.below > done.below),
            "sweeps go in the order of states"
        );
        self.sweep = match done.stage {
            SweepStage::Licences { .. } => Some(Sweep { stage: SweepStage::Logs, ..done }),
            SweepStage::Logs => self.next_sweep.take(),
        };
    }
}
