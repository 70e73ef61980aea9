//! Getting one object created, whatever the store says meanwhile.
//!
//! ```text
//!            Created
//!  Todo --> Asked ------------------------------> There
//!    ^        | Exists, Failed      mine            ^
//!    |        v                   +-----------------+
//!    +----- Unclear --> Reading --+
//!    Absent                       +--> somebody else's: fenced
//! ```
//!
//! An error says nothing: the object may be there, or come later. Reading it back tells: an object
//! with my nonce is mine. One that is absent is asked for again; if the first call is applied after
//! all, it is by this very content.

use super::call::{Answer, Call, Fenced, JournalError};
use super::object::{Body, Key, Nonce, Object};

/// An object on its way into the store.
#[derive(Clone, Debug)]
pub(super) struct Creation<R, S, P> {
    pub(super) key: Key,
    pub(super) object: Object<R, S, P>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Todo,
    Asked,
    Unclear,
    Reading,
    There,
}

impl<R: Clone, S: Clone, P: Clone> Creation<R, S, P> {
    pub(super) fn new(key: Key, object: Object<R, S, P>) -> Self {
        debug_assert!(
            matches!(
                (key, &object.body),
                (Key::Epoch(_), Body::Begin)
                    | (Key::State(_), Body::State(_))
                    | (Key::Part(_), Body::Part(_))
                    | (Key::Log(..), Body::Records { .. } | Body::Seal { .. })
            ),
            "an object lies under a name of its kind"
        );
        Self { key, object, state: State::Todo }
    }

    /// What the store is to do for it, unless it is doing something or nothing is left to do.
    pub(super) fn next_call(&mut self) -> Option<Call<R, S, P>> {
        let (state, call) = match self.state {
            State::Todo => (State::Asked, Call::Create(self.key, self.object.clone())),
            State::Unclear => (State::Reading, Call::Read(self.key)),
            State::Asked | State::Reading | State::There => return None,
        };
        self.state = state;
        Some(call)
    }

    /// What the store has answered.
    pub(super) fn answer(
        &mut self,
        answer: Answer<R, S, P>,
        nonce: Nonce,
    ) -> Result<(), JournalError> {
        debug_assert!(self.is_asked(), "an answer comes once, and to a call");
        debug_assert_eq!(self.object.nonce, nonce, "a coordinator creates its own objects only");
        self.state = match (self.state, answer) {
            (_, Answer::Refused(message)) => return Err(JournalError::Refused(message)),
            (State::Asked, Answer::Created) => State::There,
            (State::Reading, Answer::Found(object)) if object.nonce == nonce => {
                debug_assert_eq!(object.epoch, self.object.epoch, "a nonce writes a name once");
                State::There
            }
            (State::Reading, Answer::Found(object)) => {
                return Err(Fenced { by: object.epoch }.into());
            }
            (State::Reading, Answer::Absent) => State::Todo,
            (State::Reading, Answer::Damaged { message, .. }) => {
                return Err(JournalError::Damaged { key: self.key, message });
            }
            _ => State::Unclear,
        };
        Ok(())
    }

    pub(super) fn is_there(&self) -> bool {
        self.state == State::There
    }

    /// Whether the store is doing something for it.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked | State::Reading)
    }
}
