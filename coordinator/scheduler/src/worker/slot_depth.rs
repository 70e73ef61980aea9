//! How many tasks a slot is given at once: one, unless the tasks are quick.
//!
//! Between the report of an attempt and the assignment of the next, the slot is empty: the report
//! goes to the coordinator and into the journal, and the assignment comes back. These milliseconds
//! don't matter to a task of seconds, but dominate a task of a millisecond. So a job with quick
//! tasks is given more tasks than there are slots; they wait at the worker.

use serde::{Deserialize, Serialize};

/// How many tasks of a stage a slot is given at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SlotDepth {
    /// One: the tasks take their time.
    #[default]
    One,
    /// Several: the tasks are quick.
    Several,
}

/// Both, in the order of their discriminants.
pub(crate) const SLOT_DEPTHS: [SlotDepth; 2] = [SlotDepth::One, SlotDepth::Several];

impl SlotDepth {
    /// How many tasks one slot is given. If they turn out slow after all, at most this many wait
    /// behind each other.
    pub(crate) fn tasks_per_slot(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Several => 8,
        }
    }
}
