//! Creates one object with put-if-absent, through errors and ambiguous writes.
//!
//! ```text
//!            Created
//!  Todo --> Asked --------------------------------> There
//!    ^        | Exists, Failed        mine            ^
//!    |        v                     +-----------------+
//!    +--- Ambiguous --> Reading ----+
//!    Absent                         +--> another coordinator's: fenced
//! ```
//!
//! An error is ambiguous: the object may exist, or appear later. Reading it back resolves that: an
//! object with my nonce is mine. An absent one is created again; if the first call is applied late
//! after all, it writes the same content.

use super::call::{Answer, Call, Fenced, JournalError};
use super::object::{Body, Key, Nonce, Object};

/// An object that is being created.
#[derive(Clone, Debug)]
pub(super) struct PutIfAbsent<R, S, P> {
    pub(super) key: Key,
    pub(super) object: Object<R, S, P>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Todo,
    Asked,
    Ambiguous,
    Reading,
    There,
}

impl<R: Clone, S: Clone, P: Clone> PutIfAbsent<R, S, P> {
    pub(super) fn new(key: Key, object: Object<R, S, P>) -> Self {
        debug_assert!(
            matches!(
                (key, &object.body),
                (Key::Epoch(_), Body::Begin)
                    | (Key::State(_), Body::State(_))
                    | (Key::Attachment(_), Body::Attachment(_))
                    | (Key::Log(..), Body::Records { .. } | Body::Seal { .. })
            ),
            "a key names an object of its kind"
        );
        Self { key, object, state: State::Todo }
    }

    /// The next call to the store, unless one is in flight or the object is created.
    pub(super) fn next_call(&mut self) -> Option<Call<R, S, P>> {
        let (state, call) = match self.state {
            State::Todo => (State::Asked, Call::Create(self.key, self.object.clone())),
            State::Ambiguous => (State::Reading, Call::Read(self.key)),
            State::Asked | State::Reading | State::There => return None,
        };
        self.state = state;
        Some(call)
    }

    /// Handles an answer of the store.
    pub(super) fn answer(
        &mut self,
        answer: Answer<R, S, P>,
        nonce: Nonce,
    ) -> Result<(), JournalError> {
        debug_assert!(self.is_asked(), "each call is answered once");
        debug_assert_eq!(self.object.nonce, nonce, "a coordinator creates only its own objects");
        self.state = match (self.state, answer) {
            (_, Answer::Refused(message)) => return Err(JournalError::Refused(message)),
            (State::Asked, Answer::Created) => State::There,
            (State::Reading, Answer::Found(object)) if object.nonce == nonce => {
                debug_assert_eq!(object.epoch, self.object.epoch, "a nonce writes a key once");
                State::There
            }
            (State::Reading, Answer::Found(object)) => {
                return Err(Fenced { by: object.epoch }.into());
            }
            (State::Reading, Answer::Absent) => State::Todo,
            (State::Reading, Answer::Damaged { message, .. }) => {
                return Err(JournalError::Damaged { key: self.key, message });
            }
            _ => State::Ambiguous,
        };
        Ok(())
    }

    pub(super) fn is_there(&self) -> bool {
        self.state == State::There
    }

    /// Whether a call is in flight.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked | State::Reading)
    }
}
