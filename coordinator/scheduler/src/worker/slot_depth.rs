//! How many tasks a slot is given at once. Most have it for themselves.
//!
//! From the report of an attempt to the order of the next, the slot is empty: the report goes to
//! the coordinator and into the journal, and the order comes back. That is some milliseconds, of
//! which a task of seconds knows nothing, while a task of a millisecond costs mostly that. So a job
//! whose tasks turn out to be quick is given some more than there are slots; they wait where they
//! are going to run.

use serde::{Deserialize, Serialize};

/// How long the tasks of a stage take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SlotDepth {
    /// As long as they like.
    #[default]
    One,
    /// Hardly any time.
    Several,
}

/// Of both, in the order of their numbers.
pub(crate) const SLOT_DEPTHS: [SlotDepth; 2] = [SlotDepth::One, SlotDepth::Several];

impl SlotDepth {
    /// How many tasks one slot is given. Should the next ones not be quick, others wait behind so
    /// many of them at most.
    pub(crate) fn tasks_per_slot(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Several => 8,
        }
    }
}
