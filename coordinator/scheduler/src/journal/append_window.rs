//! The objects on their way into the logs, in the order of history.
//!
//! ```text
//!   durable | there, unconfirmed | in flight    | waiting
//!   ------- | log/7/3  log/7/4   | log/7/5 ...  | epochs/8  seal log/7/6  log/8/0
//!           ^ front
//! ```
//!
//! Several are in flight at once, and may be created in any order; only the longest prefix counts.
//! A seal waits for all objects before it, and all after it wait for the seal: so a log with a
//! record has no unsealed predecessor.

use std::collections::VecDeque;

use super::call::{Answer, Call, JournalError};
use super::object::{Body, Epoch, Key, Nonce, Object};
use super::put_if_absent::PutIfAbsent;

/// The objects that are not durable yet.
#[derive(Clone, Debug)]
pub(super) struct AppendWindow<R, S, P> {
    objects: VecDeque<PendingObject<R, S, P>>,
    /// The number of the first object.
    first: u64,
}

/// An object that is not durable yet.
#[derive(Clone, Debug)]
pub(super) struct PendingObject<R, S, P> {
    put: PutIfAbsent<R, S, P>,
    /// Records that are durable when this object is, if it has any.
    pub(super) durable: Option<u64>,
    bytes: usize,
}

impl<R: Clone, S: Clone, P: Clone> PendingObject<R, S, P> {
    pub(super) fn key(&self) -> Key {
        self.put.key
    }

    /// The epoch whose licence must be there when the object is.
    pub(super) fn epoch(&self) -> Epoch {
        self.put.object.epoch
    }

    pub(super) fn is_seal(&self) -> bool {
        matches!(self.put.object.body, Body::Seal { .. })
    }
}

impl<R: Clone, S: Clone, P: Clone> AppendWindow<R, S, P> {
    pub(super) fn new() -> Self {
        Self { objects: VecDeque::new(), first: 0 }
    }

    /// Adds an object at the end, and returns its number.
    pub(super) fn push(
        &mut self,
        key: Key,
        object: Object<R, S, P>,
        durable: Option<u64>,
        bytes: usize,
    ) -> u64 {
        debug_assert!(
            self.objects.back().is_none_or(|last| last.epoch() <= object.epoch),
            "a later licence confirms the earlier ones, too"
        );
        debug_assert!(
            durable.is_none() || matches!(key, Key::Log(..)),
            "records become durable with their object"
        );
        self.objects.push_back(PendingObject {
            put: PutIfAbsent::new(key, object),
            durable,
            bytes,
        });
        self.first + self.objects.len() as u64 - 1
    }

    /// The number of the first object that is not durable yet.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Steps that are not there yet.
    pub(super) fn missing(&self) -> usize {
        self.objects.iter().filter(|pending| !pending.put.is_there()).count()
    }

    /// Bytes of the objects that are not durable yet.
    pub(super) fn bytes(&self) -> usize {
        self.objects.iter().map(|pending| pending.bytes).sum()
    }

    /// Whether a seal is still to be created: everything after it has to wait.
    pub(super) fn waits_for_seal(&self) -> bool {
        self.objects.iter().any(|pending| pending.is_seal() && !pending.put.is_there())
    }

    /// How many objects at the front exist in the store.
    pub(super) fn there(&self) -> usize {
        self.objects.iter().take_while(|pending| pending.put.is_there()).count()
    }

    pub(super) fn get(&self, index: usize) -> Option<&PendingObject<R, S, P>> {
        self.objects.get(index)
    }

    /// The next call to the store with the number of its object, if fewer than `in_flight_max`
    /// calls are in flight.
    pub(super) fn next_call(&mut self, in_flight_max: usize) -> Option<(u64, Call<R, S, P>)> {
        let mut in_flight = self.objects.iter().filter(|pending| pending.put.is_asked()).count();
        let mut all_there = true;
        for (index, pending) in self.objects.iter_mut().enumerate() {
            let is_seal = pending.is_seal();
            if is_seal && !all_there {
                break;
            }
            if in_flight < in_flight_max
                && let Some(call) = pending.put.next_call()
            {
                in_flight += 1;
                debug_assert!(in_flight <= in_flight_max, "calls in flight are bounded");
                return Some((self.first + index as u64, call));
            }
            all_there &= pending.put.is_there();
            if is_seal && !pending.put.is_there() {
                break;
            }
        }
        None
    }

    /// Handles an answer about an object.
    pub(super) fn answer(
        &mut self,
        number: u64,
        answer: Answer<R, S, P>,
        nonce: Nonce,
    ) -> Result<(), JournalError> {
        let index = number.checked_sub(self.first);
        debug_assert!(index.is_some(), "an object leaves the window only after its answer");
        let pending = index.and_then(|index| self.objects.get_mut(index as usize));
        debug_assert!(pending.is_some(), "the object is in the window");
        pending.map_or(Ok(()), |pending| pending.put.answer(answer, nonce))
    }

    /// Removes the first object, which is durable now.
    pub(super) fn pop(&mut self) -> Option<PendingObject<R, S, P>> {
        debug_assert!(self.there() > 0, "durable objects exist");
        debug_assert!(
            self.objects
                .front()
                .is_some_and(|pending| !pending.is_seal() || pending.durable.is_none()),
            "a seal has no records"
        );
        self.first += 1;
        self.objects.pop_front()
    }
}
