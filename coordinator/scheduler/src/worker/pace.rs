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
pub(crate) enum Pace {
    /// As long as they like.
    #[default]
    Usual,
    /// Hardly any time.
    Quick,
}

/// Of both, in the order of their numbers.
pub(crate) const PACES: [Pace; 2] = [Pace::Usual, Pace::Quick];

impl Pace {
    /// How many tasks one slot is given. Should the next ones not be quick, others wait behind so
    /// many of them at most.
    pub(crate) fn tasks_a_slot(self) -> u32 {
        match self {
            Self::Usual => 1,
            Self::Quick => 8,
        }
    }
}
