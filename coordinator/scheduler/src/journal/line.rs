//! The objects that are on their way into the logs, in the order of history.
//!
//! ```text
//!   durable | there, unconfirmed | in flight    | waiting
//!   ------- | log/7/3  log/7/4   | log/7/5 ...  | epochs/8  seal log/7/6  log/8/0
//!           ^ front
//! ```
//!
//! Several are in flight at once, and may be created in any order; only the longest prefix counts.
//! A seal waits for all before it, and all after it wait for the seal: so a log that has a record
//! has no predecessor without a seal.

use std::collections::VecDeque;

use super::call::{Answer, Call, JournalError};
use super::creation::Creation;
use super::object::{Body, Epoch, Key, Nonce, Object};

/// The objects that are not durable yet.
#[derive(Clone, Debug)]
pub(super) struct Line<R, S, P> {
    steps: VecDeque<Step<R, S, P>>,
    /// The number of the first step in the line.
    first: u64,
}

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Step<R, S, P> {
    creation: Creation<R, S, P>,
    /// Records that are durable when this step is, if that changes.
    pub(super) durable: Option<u64>,
    bytes: usize,
}

impl<R: Clone, S: Clone, P: Clone> Step<R, S, P> {
    pub(super) fn key(&self) -> Key {
        self.creation.key
    }

    /// The epoch whose licence must be there when the object is.
    pub(super) fn epoch(&self) -> Epoch {
        self.creation.object.epoch
    }

    pub(super) fn is_seal(&self) -> bool {
        matches!(self.creation.object.body, Body::Seal { .. })
    }
}

impl<R: Clone, S: Clone, P: Clone> Line<R, S, P> {
    pub(super) fn new() -> Self {
        Self { steps: VecDeque::new(), first: 0 }
    }

    /// Adds a step at the end, and returns its number.
    pub(super) fn push(
        &mut self,
        key: Key,
        object: Object<R, S, P>,
        durable: Option<u64>,
        bytes: usize,
    ) -> u64 {
        debug_assert!(
            self.steps.back().is_none_or(|last| last.epoch() <= object.epoch),
            "whoever confirms a later licence confirms the earlier ones"
        );
        debug_assert!(
            durable.is_none() || matches!(key, Key::Log(..)),
            "records become durable with the object in which they are"
        );
        self.steps.push_back(Step { creation: Creation::new(key, object), durable, bytes });
        self.first + self.steps.len() as u64 - 1
    }

    /// The number of the first step that is not durable yet.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Steps that are not there yet.
    pub(super) fn missing(&self) -> usize {
        self.steps.iter().filter(|step| !step.creation.is_there()).count()
    }

    /// Bytes of the steps that are not durable yet.
    pub(super) fn bytes(&self) -> usize {
        self.steps.iter().map(|step| step.bytes).sum()
    }

    /// Whether a seal is still to be created, for which everything after it has to wait.
    pub(super) fn waits_for_seal(&self) -> bool {
        self.steps.iter().any(|step| step.is_seal() && !step.creation.is_there())
    }

    /// How many steps at the front are there.
    pub(super) fn there(&self) -> usize {
        self.steps.iter().take_while(|step| step.creation.is_there()).count()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Step<R, S, P>> {
        self.steps.get(index)
    }

    /// What the store is to do next for one of at most `in_flight_max` steps at a time, and for
    /// which step.
    pub(super) fn next_call(&mut self, in_flight_max: usize) -> Option<(u64, Call<R, S, P>)> {
        let mut in_flight = self.steps.iter().filter(|step| step.creation.is_asked()).count();
        let mut all_there = true;
        for (index, step) in self.steps.iter_mut().enumerate() {
            let is_seal = step.is_seal();
            if is_seal && !all_there {
                break;
            }
            if in_flight < in_flight_max
                && let Some(call) = step.creation.next_call()
            {
                in_flight += 1;
                debug_assert!(in_flight <= in_flight_max, "what is in flight is bounded");
                return Some((self.first + index as u64, call));
            }
            all_there &= step.creation.is_there();
            if is_seal && !step.creation.is_there() {
                break;
            }
        }
        None
    }

    /// What the store has answered about a step.
    pub(super) fn answer(
        &mut self,
        number: u64,
        answer: Answer<R, S, P>,
        nonce: Nonce,
    ) -> Result<(), JournalError> {
        let index = number.checked_sub(self.first);
        debug_assert!(index.is_some(), "a step leaves the line only after its answer");
        let step = index.and_then(|index| self.steps.get_mut(index as usize));
        debug_assert!(step.is_some(), "what was asked for is in the line");
        step.map_or(Ok(()), |step| step.creation.answer(answer, nonce))
    }

    /// Takes the first step, which is durable now.
    pub(super) fn pop(&mut self) -> Option<Step<R, S, P>> {
        debug_assert!(self.there() > 0, "what counts is there");
        debug_assert!(
            self.steps.front().is_some_and(|step| !step.is_seal() || step.durable.is_none()),
            "a seal has no records"
        );
        self.first += 1;
        self.steps.pop_front()
    }
}
