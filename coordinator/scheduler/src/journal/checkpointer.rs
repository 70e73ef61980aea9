//! Writes and deletes objects beside the log: attachments, the state with which an epoch begins,
//! and objects that are not needed any more.
//!
//! Appends never wait for it. A state is written once all records that it sums up and all its
//! attachments are durable; its predecessor is deleted after that. So it may take any time, be
//! interrupted anywhere, or be repeated by a fenced coordinator: a state only repeats the logs
//! below it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::call::{Answer, Call, JournalError, Sweep, SweepStage};
use super::object::{AttachmentId, Body, Epoch, Key, Nonce, Object};
use super::put_if_absent::PutIfAbsent;

/// Limit of attachments in flight.
const ATTACHMENTS_IN_FLIGHT_MAX: usize = 4;
/// Limit of calls in flight: attachments, a state, and a sweep.
pub(super) const CALLS_MAX: usize = ATTACHMENTS_IN_FLIGHT_MAX + 2;

/// A call in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Attachment(AttachmentId),
    State,
    Sweep,
}

/// Writes attachments and states, and sweeps.
#[derive(Clone, Debug)]
pub(super) struct Checkpointer<R, S, P> {
    nonce: Nonce,
    /// The next attachment.
    next: AttachmentId,
    /// Attachments that are not written yet.
    attachments: BTreeMap<AttachmentId, PutIfAbsent<R, S, P>>,
    /// Attachments that a record is going to name, but none does durably yet.
    unnamed: BTreeSet<AttachmentId>,
    /// Those of `unnamed` that are written, and were not reported yet.
    written: VecDeque<AttachmentId>,
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
    /// Its attachments that are not written yet.
    waits_for: BTreeSet<AttachmentId>,
    keep: BTreeSet<AttachmentId>,
    attachments_below: AttachmentId,
}

impl<R: Clone, S: Clone, P: Clone> Checkpointer<R, S, P> {
    pub(super) fn new(epoch: Epoch, nonce: Nonce) -> Self {
        Self {
            nonce,
            next: AttachmentId { epoch, number: 0 },
            attachments: BTreeMap::new(),
            unnamed: BTreeSet::new(),
            written: VecDeque::new(),
            snapshot: None,
            sweep: None,
            is_sweeping: false,
            next_sweep: None,
        }
    }

    /// Returns the id for an attachment of a state that is about to be written.
    pub(super) fn name_attachment(&mut self) -> AttachmentId {
        let id = self.next;
        self.next.number += 1;
        id
    }

    /// Writes an attachment that a record is going to name. It is kept until it is
    /// [named](Self::forget).
    pub(super) fn write(&mut self, attachment: Arc<P>) -> AttachmentId {
        let id = self.name_attachment();
        self.unnamed.insert(id);
        self.add_attachment(id, attachment);
        id
    }

    /// The next such attachment that is written.
    pub(super) fn next_written(&mut self) -> Option<AttachmentId> {
        self.written.pop_front()
    }

    /// Stops keeping such an attachment: a record names it, or none ever will.
    pub(super) fn forget(&mut self, attachment: AttachmentId) {
        let was_there = self.unnamed.remove(&attachment);
        debug_assert!(was_there, "an attachment is named once");
    }

    fn add_attachment(&mut self, id: AttachmentId, attachment: Arc<P>) {
        let object = Object {
            epoch: self.next.epoch,
            nonce: self.nonce,
            body: Body::Attachment(attachment),
        };
        debug_assert!(id < self.next, "an id is given before it is used");
        let before = self.attachments.insert(id, PutIfAbsent::new(Key::Attachment(id), object));
        debug_assert!(before.is_none(), "an id is used once");
    }

    /// Whether a state is being written: another one must wait.
    pub(super) fn is_writing_state(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Writes the state with which `epoch` begins, once the object `after` of the append window is
    /// durable. `named`: the attachments that it names; `attachments`: the new ones among them.
    pub(super) fn write_state(
        &mut self,
        epoch: Epoch,
        after: u64,
        state: Arc<S>,
        named: BTreeSet<AttachmentId>,
        attachments: Vec<(AttachmentId, Arc<P>)>,
    ) {
        debug_assert!(self.snapshot.is_none(), "one state at a time");
        debug_assert!(
            attachments.iter().all(|(id, _)| named.contains(id)),
            "a state names its new attachments"
        );
        debug_assert!(epoch >= self.next.epoch, "a coordinator writes states of its own epochs");
        debug_assert!(
            named.last().is_none_or(|last| *last < self.next),
            "a named attachment is older than the next one"
        );
        debug_assert!(
            self.sweep.iter().chain(&self.next_sweep).all(|sweep| sweep.below < epoch),
            "a pending sweep is of an older state"
        );
        let object = Object { epoch, nonce: self.nonce, body: Body::State(state) };
        let waits_for = attachments.iter().map(|(id, _)| *id).collect();
        for (id, attachment) in attachments {
            self.add_attachment(id, attachment);
        }
        let keep = named.into_iter().chain(self.unnamed.iter().copied()).collect();
        self.snapshot = Some(Snapshot {
            after,
            state: PutIfAbsent::new(Key::State(epoch), object),
            waits_for,
            keep,
            attachments_below: self.next,
        });
    }

    /// The next call to the store. All objects of the append window before `durable` are durable.
    pub(super) fn next_call(&mut self, durable: u64) -> Option<(Asked, Call<R, S, P>)> {
        if let Some((id, call)) = self.next_part(durable) {
            return Some((Asked::Attachment(id), call));
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

    fn next_part(&mut self, durable: u64) -> Option<(AttachmentId, Call<R, S, P>)> {
        let in_flight =
            self.attachments.values().filter(|attachment| attachment.is_asked()).count();
        if in_flight >= ATTACHMENTS_IN_FLIGHT_MAX {
            return None;
        }
        // Attachments of a state wait like the state itself: a fenced coordinator need not write
        // them.
        let too_early = |id: &AttachmentId| {
            let is_of_state = |snapshot: &Snapshot<_, _, _>| {
                snapshot.after >= durable && snapshot.waits_for.contains(id)
            };
            self.snapshot.as_ref().is_some_and(is_of_state)
        };
        let mut attachments = self.attachments.iter_mut().filter(|(id, _)| !too_early(id));
        attachments.find_map(|(id, attachment)| Some((*id, attachment.next_call()?)))
    }

    /// Handles an answer of the store.
    pub(super) fn answer(
        &mut self,
        asked: Asked,
        answer: Answer<R, S, P>,
    ) -> Result<(), JournalError> {
        match asked {
            Asked::Attachment(id) => self.part_answered(id, answer)?,
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

    fn part_answered(
        &mut self,
        id: AttachmentId,
        answer: Answer<R, S, P>,
    ) -> Result<(), JournalError> {
        debug_assert!(self.attachments.contains_key(&id), "the attachment is being written");
        let Some(attachment) = self.attachments.get_mut(&id) else { return Ok(()) };
        attachment.answer(answer, self.nonce)?;
        if attachment.is_there() {
            self.attachments.remove(&id);
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
        debug_assert!(snapshot.waits_for.is_empty(), "a state is written after its attachments");
        debug_assert!(
            snapshot.keep.iter().all(|attachment| !self.attachments.contains_key(attachment)
                || self.unnamed.contains(attachment)),
            "the attachments of a written state are written"
        );
        let (keep, attachments_below) = (Arc::new(snapshot.keep), snapshot.attachments_below);
        let stage = SweepStage::Licences { keep, attachments_below };
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
