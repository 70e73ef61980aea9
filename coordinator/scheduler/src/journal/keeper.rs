//! What is written and deleted beside the log: parts, the state with which an epoch begins, and
//! what nobody needs any more.
//!
//! None of it is in the way of an append. A state is asked for when all that it sums up is durable,
//! and after its parts; the predecessor of a state is deleted after it. So it may take as long as
//! it likes, break off anywhere, or be done once more by a coordinator that slept: a state only
//! ever repeats what the logs below it say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::call::{Answer, Call, JournalError, Sweep, SweepStage};
use super::creation::Creation;
use super::object::{Body, Epoch, Key, Nonce, Object, PartId};

/// Most parts on their way into the store at once.
const PARTS_IN_FLIGHT_MAX: usize = 4;
/// Most calls at once: parts, a state, and a sweep.
pub(super) const CALLS_MAX: usize = PARTS_IN_FLIGHT_MAX + 2;

/// What the store was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Part(PartId),
    State,
    Sweep,
}

/// Writes parts and states, and sweeps.
#[derive(Clone, Debug)]
pub(super) struct Keeper<R, S, P> {
    nonce: Nonce,
    /// The next part.
    next: PartId,
    /// Parts that are not there yet.
    parts: BTreeMap<PartId, Creation<R, S, P>>,
    /// Parts that nothing durable names, but soon may.
    unnamed: BTreeSet<PartId>,
    /// Of these, those that are there, and were not told yet.
    written: VecDeque<PartId>,
    snapshot: Option<Snapshot<R, S, P>>,
    sweep: Option<Sweep>,
    is_sweeping: bool,
    /// What is to be swept after that.
    next_sweep: Option<Sweep>,
}

/// A state on its way.
#[derive(Clone, Debug)]
struct Snapshot<R, S, P> {
    /// The step of the line that must be durable before.
    after: u64,
    state: Creation<R, S, P>,
    /// Its parts that are not there yet.
    waits_for: BTreeSet<PartId>,
    keep: BTreeSet<PartId>,
    parts_below: PartId,
}

impl<R: Clone, S: Clone, P: Clone> Keeper<R, S, P> {
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

    /// A name for a part of a state that is about to be taken.
    pub(super) fn name_part(&mut self) -> PartId {
        let id = self.next;
        self.next.number += 1;
        id
    }

    /// Has a part written that a record is going to name. It stays until it was
    /// [named](Self::forget).
    pub(super) fn write(&mut self, part: Arc<P>) -> PartId {
        let id = self.name_part();
        self.unnamed.insert(id);
        self.add_part(id, part);
        id
    }

    /// Such a part that is there now.
    pub(super) fn next_written(&mut self) -> Option<PartId> {
        self.written.pop_front()
    }

    /// Such a part is named by a record now, or never will be.
    pub(super) fn forget(&mut self, part: PartId) {
        let was_there = self.unnamed.remove(&part);
        debug_assert!(was_there, "a part is named once");
    }

    fn add_part(&mut self, id: PartId, part: Arc<P>) {
        let object = Object { epoch: self.next.epoch, nonce: self.nonce, body: Body::Part(part) };
        debug_assert!(id < self.next, "a name is given before it is used");
        let before = self.parts.insert(id, Creation::new(Key::Part(id), object));
        debug_assert!(before.is_none(), "the name of a part is used once");
    }

    /// Whether a state is on its way: another one must wait.
    pub(super) fn is_writing_state(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Has the state written with which `epoch` begins, when the step `after` of the line is
    /// durable. `named`: the parts that it names; `parts`: those of them that are new.
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
            "a part is written for the state that names it"
        );
        debug_assert!(epoch >= self.next.epoch, "a coordinator writes states of its own epochs");
        debug_assert!(
            named.last().is_none_or(|last| *last < self.next),
            "a part that a sweep takes for a younger one would stay for ever"
        );
        debug_assert!(
            self.sweep.iter().chain(&self.next_sweep).all(|sweep| sweep.below < epoch),
            "a state that is being swept is older"
        );
        let object = Object { epoch, nonce: self.nonce, body: Body::State(state) };
        let waits_for = parts.iter().map(|(id, _)| *id).collect();
        for (id, part) in parts {
            self.add_part(id, part);
        }
        let keep = named.into_iter().chain(self.unnamed.iter().copied()).collect();
        self.snapshot = Some(Snapshot {
            after,
            state: Creation::new(Key::State(epoch), object),
            waits_for,
            keep,
            parts_below: self.next,
        });
    }

    /// What the store is to do next. `durable`: all steps of the line before this one are.
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
        // A coordinator that was fenced need not write what only its state would name.
        let too_early = |id: &PartId| {
            let is_of_state = |snapshot: &Snapshot<_, _, _>| {
                snapshot.after >= durable && snapshot.waits_for.contains(id)
            };
            self.snapshot.as_ref().is_some_and(is_of_state)
        };
        let mut parts = self.parts.iter_mut().filter(|(id, _)| !too_early(id));
        parts.find_map(|(id, part)| Some((*id, part.next_call()?)))
    }

    /// What the store has answered.
    pub(super) fn answer(
        &mut self,
        asked: Asked,
        answer: Answer<R, S, P>,
    ) -> Result<(), JournalError> {
        match asked {
            Asked::Part(id) => self.part_answered(id, answer)?,
            Asked::State => {
                debug_assert!(self.snapshot.is_some(), "a state stays until it is there");
                if let Some(snapshot) = &mut self.snapshot {
                    snapshot.state.answer(answer, self.nonce)?;
                }
                self.begin_sweep();
            }
            Asked::Sweep => {
                debug_assert!(self.is_sweeping, "an answer comes once, and to a call");
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
        debug_assert!(self.parts.contains_key(&id), "a part stays until it is there");
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

    /// When the state is there, nobody needs what is older.
    fn begin_sweep(&mut self) {
        let is_there = |snapshot: &mut Snapshot<_, _, _>| snapshot.state.is_there();
        let Some(snapshot) = self.snapshot.take_if(is_there) else { return };
        debug_assert!(snapshot.waits_for.is_empty(), "a state is written after its parts");
        debug_assert!(
            snapshot
                .keep
                .iter()
                .all(|part| !self.parts.contains_key(part) || self.unnamed.contains(part)),
            "what the state names is there; only what a record will name may be on its way"
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
        debug_assert!(self.sweep.is_some(), "only what was asked for is done");
        let Some(done) = self.sweep.take() else { return };
        debug_assert!(
            self.next_sweep.as_ref().is_none_or(|next| next.below > done.below),
            "states are written in order, and swept below"
        );
        self.sweep = match done.stage {
            SweepStage::Licences { .. } => Some(Sweep { stage: SweepStage::Logs, ..done }),
            SweepStage::Logs => self.next_sweep.take(),
        };
    }
}
