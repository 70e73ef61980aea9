//! What is asked of the store, and what it may answer. Several calls may be under way at once, and
//! are answered in any order.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::object::{Epoch, Key, Object, PartId, Slot};

/// Tells the answers to calls apart. Never used twice by one coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One thing that the store is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<R, S, P> {
    /// Name all licences, states and slots. Whatever was created or deleted before it was asked
    /// shows.
    List,
    /// Name all licences, likewise. There are few.
    Licences,
    /// Create this object, unless there is one of that name.
    Create(Key, Object<R, S, P>),
    /// Read this object.
    Read(Key),
    /// Delete what nobody needs any more.
    Sweep(Sweep),
}

/// What can go. It may take long, stop half-way and be done again; objects may go in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// A durable state says what happened in all epochs below this one.
    pub below: Epoch,
    /// What kind of objects.
    pub stage: SweepStage,
}

/// Sweeping goes in two steps. The second one must not begin before the first one has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepStage {
    /// Licences and states below the epoch, and parts that nobody names.
    Licences {
        /// Parts that are named, or will be.
        keep: Arc<BTreeSet<PartId>>,
        /// Parts that are younger than this one stay, whether or not they are in `keep`.
        parts_below: PartId,
    },
    /// All logs below the epoch, with their seals.
    Logs,
}

impl Sweep {
    /// Whether this object goes.
    pub fn deletes(&self, key: Key) -> bool {
        match (&self.stage, key) {
            (SweepStage::Licences { .. }, Key::Epoch(epoch) | Key::State(epoch)) => {
                epoch < self.below
            }
            (SweepStage::Licences { keep, parts_below }, Key::Part(part)) => {
                part < *parts_below && !keep.contains(&part)
            }
            (SweepStage::Logs, Key::Log(log, _)) => log < self.below,
            _ => false,
        }
    }
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Epochs that have begun, and were not swept.
    pub epochs: BTreeSet<Epoch>,
    /// Epochs that have a state to begin with.
    pub states: BTreeSet<Epoch>,
    /// Objects in logs.
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
                // Those that are needed are named by records and states, and there may be many.
                Key::Part(_) => {}
            }
        }
        listing
    }
}

/// What the store says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<R, S, P> {
    /// To `List`, and to `Licences`, with nothing else then.
    Listed(Listing),
    /// To `Create`: it is there now, and durable.
    Created,
    /// To `Create`: something of that name is there already.
    Exists,
    /// To `Read`.
    Found(Object<R, S, P>),
    /// To `Read`: there is nothing of that name.
    Absent,
    /// To `Read`: there is something, but it is not whole.
    Damaged {
        /// Whether it breaks off, as when a disk lost power while it was written. Else it was whole
        /// once.
        torn: bool,
        /// What is wrong with it.
        message: String,
    },
    /// To `Sweep`: all of it is gone.
    Swept,
    /// To any: it did not work, as far as is known. It may have been done all the same, or be done
    /// later.
    Failed,
    /// To any: it does not work, and will not, however often it is tried.
    Refused(String),
}

/// Another coordinator has taken over: this one must stop, and believe nothing that was not
/// durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another coordinator has taken over in {by}")]
pub struct Fenced {
    /// The epoch that has begun.
    pub by: Epoch,
}

/// Why a journal cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// See there.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The coordinator's own licence is gone. Nothing that was written since can be relied on.
    #[error(
        "{licence}, by which this coordinator decides, is gone from the journal, and nobody has taken over: the journal's folder was \
         removed, or replaced by another one. Bring back the folder that was there, and start a coordinator on it"
    )]
    Unlicensed {
        /// Which one.
        licence: Key,
    },
    /// Something in the middle of the journal cannot be read, so that what was acknowledged is not
    /// known any more.
    #[error("{key} is damaged: {message}; what came after it would be lost")]
    Damaged {
        /// Which object.
        key: Key,
        /// What is wrong with it.
        message: String,
    },
    /// The store takes nothing more. What it has, it keeps.
    #[error("the journal cannot be written any more: {0}")]
    Refused(String),
    /// The objects are whole, but do not make sense together.
    #[error("{key} should not be there: {message}")]
    Confused {
        /// Which object.
        key: Key,
        /// What is wrong with it.
        message: String,
    },
}
