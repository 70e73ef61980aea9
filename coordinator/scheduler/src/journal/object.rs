//! What the journal is made of.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Numbers the coordinators of a cluster, one after the other. It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A place in the log of an epoch, from 0 without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot(pub u64);

/// Drawn by each coordinator when it starts, and never drawn again: tells its objects from those of others, although the
/// names are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Nonce(pub u128);

/// The name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Who decides in this epoch.
    Epoch(Epoch),
    /// A slot of an epoch's log.
    Log(Epoch, Slot),
}

/// An object as it is created, and then never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object<R, S> {
    /// The epoch of the coordinator that created it; for a seal, not that of the log in which it lies.
    pub epoch: Epoch,
    /// Whose it is.
    pub nonce: Nonce,
    /// What it says.
    pub body: Body<R, S>,
}

/// What an object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body<R, S> {
    /// I decide in this epoch.
    Begin,
    /// The state with which the epoch begins. Always in slot 0, and nowhere else.
    Snapshot(Arc<S>),
    /// What happened then, in order.
    Records(Arc<Vec<R>>),
    /// Nothing will be appended any more: a later epoch has begun.
    Seal,
}

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
        }
    }
}
