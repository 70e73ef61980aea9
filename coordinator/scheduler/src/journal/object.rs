//! The objects of the journal.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The term of one coordinator, which has one log, and its fencing token. It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A position in the log of an epoch, from 0 without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot(pub u64);

/// Drawn at random by each coordinator when it starts: tells its objects from those that others
/// create under the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Nonce(pub u128);

/// Identifies an attachment for good: the epoch with which its writer took over, and a number that
/// this writer uses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttachmentId {
    /// The first epoch of its writer.
    pub epoch: Epoch,
    /// Counts the writer's attachments.
    pub number: u64,
}

/// The name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The licence of an epoch: its creator decides in that epoch.
    Epoch(Epoch),
    /// A slot of an epoch's log.
    Log(Epoch, Slot),
    /// The state in which an epoch's log begins.
    State(Epoch),
    /// A large value that records or states name.
    Attachment(AttachmentId),
}

/// An object, which never changes after its creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object<R, S, P> {
    /// The epoch of the coordinator that created it; for a seal, not the epoch of the log in which
    /// the seal lies.
    pub epoch: Epoch,
    /// The nonce of its creator.
    pub nonce: Nonce,
    /// Its content.
    pub body: Body<R, S, P>,
}

/// The content of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body<R, S, P> {
    /// A licence: the creator decides in this epoch.
    Begin,
    /// A checkpoint of all epochs before this one. Its large values are attachments.
    State(Arc<S>),
    /// Records of what happened, in order.
    Records {
        /// All slots of this log below this one were durable when this object was first sent.
        holds: Slot,
        /// The records.
        records: Arc<Vec<R>>,
    },
    /// The end of the log: a later epoch has begun.
    Seal {
        /// The slots of this log that count: those below this one.
        holds: Slot,
    },
    /// A large value that records or states name.
    Attachment(Arc<P>),
}

/// What the protocol needs to know of a record, a state or an attachment.
pub trait Content {
    /// Calls `name` with each attachment that this value needs.
    fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        let _ = name;
    }

    /// The approximate size in the journal.
    fn bytes(&self) -> usize {
        size_of_val(self)
    }
}

impl Content for () {}
impl Content for u8 {}
impl Content for u64 {}
impl Content for String {}

impl Epoch {
    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Slot {
    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}", self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch(epoch) => write!(f, "epochs/{:08}", epoch.0),
            Self::Log(epoch, slot) => write!(f, "log/{:08}/{:08}", epoch.0, slot.0),
            Self::State(epoch) => write!(f, "states/{:08}", epoch.0),
            Self::Attachment(AttachmentId { epoch, number }) => {
                write!(f, "attachments/{:08}/{number:08}", epoch.0)
            }
        }
    }
}
