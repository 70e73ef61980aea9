//! What is asked of the store, one call at a time, and what it may answer.

use super::object::{Epoch, Key, Object};

/// One thing that the store is to do. The next one comes when it has been answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<R, S> {
    /// Find the last epoch that has begun.
    LastEpoch,
    /// Create this object, unless there is one of that name.
    Create(Key, Object<R, S>),
    /// Read this object.
    Read(Key),
    /// Delete all of this epoch's log but its seal and what breaks off, and likewise all of those before; what is gone already
    /// is no error. An object that breaks off may be all that keeps its slot from one who slept: its seal lies after it.
    DeleteUpTo(Epoch),
}

/// What the store says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<R, S> {
    /// To `LastEpoch`: this one, if any.
    LastEpoch(Option<Epoch>),
    /// To `Create`: it is there now, and durable.
    Created,
    /// To `Create`: something of that name is there already.
    Exists,
    /// To `Read`.
    Found(Object<R, S>),
    /// To `Read`: there is nothing of that name.
    Absent,
    /// To `Read`: there is something, but it is not whole.
    Damaged {
        /// Whether it breaks off, as when a disk lost power while it was written. Else it was whole once.
        torn: bool,
        /// What is wrong with it.
        message: String,
    },
    /// To `DeleteUpTo`.
    Deleted,
    /// To any: it did not work, as far as is known. It may have been done all the same, or be done later.
    Failed,
    /// To any: it does not work, and will not, however often it is tried.
    Refused(String),
}

/// Another coordinator has taken over: this one must stop, and believe nothing that was not durable.
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
    /// Something in the middle of the journal cannot be read, so that what was acknowledged is not known any more.
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
