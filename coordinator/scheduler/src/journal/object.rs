//! What the journal is made of.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Numbers the logs of a cluster, one after the other. It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A place in the log of an epoch, from 0 without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot(pub u64);

/// Drawn by each coordinator when it starts, and never drawn again: tells its objects from those of
/// others, although the names are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Nonce(pub u128);

/// Names a part for good: the epoch with which its writer took over, and a number that this writer
/// uses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartId {
    /// The first epoch of its writer.
    pub epoch: Epoch,
    /// Counts the writer's parts.
    pub number: u64,
}

/// The name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The licence of an epoch: who decides in it.
    Epoch(Epoch),
    /// A slot of an epoch's log.
    Log(Epoch, Slot),
    /// The state in which an epoch's log begins.
    State(Epoch),
    /// Something large that records or states name.
    Part(PartId),
}

/// An object as it is created, and then never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object<R, S, P> {
    /// The epoch of the coordinator that created it; for a seal, not the epoch of the log in which
    /// the seal lies.
    pub epoch: Epoch,
    /// Whose it is.
    pub nonce: Nonce,
    /// What it says.
    pub body: Body<R, S, P>,
}

/// What an object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body<R, S, P> {
    /// I decide in this epoch.
    Begin,
    /// All that happened in the epochs before this one. What is large in it lies in parts.
    State(Arc<S>),
    /// What happened then, in order.
    Records {
        /// All slots of this log below this one were durable when this object was first asked for.
        holds: Slot,
        /// The records.
        records: Arc<Vec<R>>,
    },
    /// Nothing will be appended any more: a later epoch has begun.
    Seal {
        /// The slots of this log that count: those below this one.
        holds: Slot,
    },
    /// What records or states name.
    Part(Arc<P>),
}

/// What the protocol must know of a record, a state or a part.
pub trait Content {
    /// Calls `name` with each part that this cannot be understood without.
    fn name_parts(&self, name: &mut dyn FnMut(PartId)) {
        let _ = name;
    }

    /// About how many bytes it takes up in the journal.
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
            Self::Part(PartId { epoch, number }) => {
                write!(f, "parts/{:08}/{number:08}", epoch.0)
            }
        }
    }
}
