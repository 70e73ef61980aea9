//! Calls to the store, and its answers. Several calls may be in flight, and are answered in any
//! order.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::object::{AttachmentId, Epoch, Key, Object, Slot};

/// Matches an answer to its call. Never reused by a coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<R, S, P> {
    /// List all licences, states and slots. Shows all that was created or deleted before the call.
    List,
    /// List all licences, likewise. There are few.
    Licences,
    /// Create this object, unless its key exists (put-if-absent).
    Create(Key, Object<R, S, P>),
    /// Read this object.
    Read(Key),
    /// Delete objects that are not needed any more.
    Sweep(Sweep),
}

/// The objects to delete. A sweep may take long, stop half-way and be repeated; objects may be
/// deleted in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// A durable state replaces all epochs below this one.
    pub below: Epoch,
    /// Which of them.
    pub stage: SweepStage,
}

/// The two stages of a sweep. The second must not begin before the first has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepStage {
    /// Licences and states below the epoch, and attachments that are not named.
    Licences {
        /// Attachments that are named or will be.
        keep: Arc<BTreeSet<AttachmentId>>,
        /// Attachments from this one on stay, whether or not they are in `keep`.
        attachments_below: AttachmentId,
    },
    /// All logs below the epoch, with their seals.
    Logs,
}

impl Sweep {
    /// Whether the sweep deletes this object.
    pub fn deletes(&self, key: Key) -> bool {
        match (&self.stage, key) {
            (SweepStage::Licences { .. }, Key::Epoch(epoch) | Key::State(epoch)) => {
                epoch < self.below
            }
            (SweepStage::Licences { keep, attachments_below }, Key::Attachment(attachment)) => {
                attachment < *attachments_below && !keep.contains(&attachment)
            }
            (SweepStage::Logs, Key::Log(log, _)) => log < self.below,
            _ => false,
        }
    }
}

/// What a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Epochs with a licence.
    pub epochs: BTreeSet<Epoch>,
    /// Epochs with a state.
    pub states: BTreeSet<Epoch>,
    /// Slots of logs that exist.
    pub slots: BTreeSet<(Epoch, Slot)>,
}

impl FromIterator<Key> for Listing {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut listing = Self::default();
        for key in keys {
            match key {
                Key::Epoch(epoch) => _ = listing.epochs.insert(epoch),
                Key::State(epoch) => _ = listing.states.insert(epoch),
                Key::Log(log, slot) => _ = listing.slots.insert((log, slot)),
                // Records and states name the attachments that are needed, and there may be many.
                Key::Attachment(_) => {}
            }
        }
        listing
    }
}

/// The store's answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<R, S, P> {
    /// To `List` and `Licences`; to the latter with licences only.
    Listed(Listing),
    /// To `Create`: the object exists now, and is durable.
    Created,
    /// To `Create`: the key exists already.
    Exists,
    /// To `Read`.
    Found(Object<R, S, P>),
    /// To `Read`: the key does not exist.
    Absent,
    /// To `Read`: the object is not whole.
    Damaged {
        /// Whether it is a torn write, as after a power failure. Otherwise it was whole once.
        torn: bool,
        /// What is wrong with it.
        message: String,
    },
    /// To `Sweep`: all of its objects are gone.
    Swept,
    /// To any: an error. The call may have been applied nonetheless, or may be applied later.
    Failed,
    /// To any: a permanent error, so that no retry helps.
    Refused(String),
}

/// Another coordinator has taken over: this one must stop, and may rely on nothing that was not
/// durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another coordinator has taken over in {by}")]
pub struct Fenced {
    /// The epoch that has begun.
    pub by: Epoch,
}

/// Why a journal cannot be used any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Another coordinator has taken over.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The coordinator's own licence is gone. Nothing written since then can be relied on.
    #[error(
        "{licence}, by which this coordinator decides, is gone from the journal, and nobody has taken over: the journal's folder was \
         removed, or replaced by another one. Bring back the folder that was there, and start a coordinator on it"
    )]
    Unlicensed {
        /// Which one.
        licence: Key,
    },
    /// An object in the middle of the journal cannot be read, so acknowledged records may be lost.
    #[error("{key} is damaged: {message}; what came after it would be lost")]
    Damaged {
        /// Which object.
        key: Key,
        /// What is wrong with it.
        message: String,
    },
    /// The store accepts no more writes. It keeps what it has.
    #[error("the journal cannot be written any more: {0}")]
    Refused(String),
    /// The objects are whole, but contradict each other.
    #[error("{key} should not be there: {message}")]
    Confused {
        /// Which object.
        key: Key,
        /// What is wrong with it.
        message: String,
    },
}
