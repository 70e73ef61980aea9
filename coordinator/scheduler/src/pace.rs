//! How many tasks a slot is given at once. Most have it for themselves.
//!
//! From the report of an attempt to the order of the next, the slot is empty: the report goes to
//! the coordinator and into the journal, and the order comes back. That is some milliseconds, of
//! which a task of seconds knows nothing, while a task of a millisecond costs mostly that. So a job
//! whose tasks turn out to be quick is given some more than there are slots; they wait where they
//! are going to run.

use serde::{Deserialize, Serialize};
use windrow_model::Stage;

use crate::config::Config;
use crate::job::Job;
use crate::tasks::Tasks;

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

/// So many tasks must be done before they count as quick.
const DONE_MIN: u32 = 16;

impl Pace {
    /// How many tasks one slot is given. Should the next ones not be quick, others wait behind so
    /// many of them at most.
    pub(crate) fn tasks_a_slot(self) -> u32 {
        match self {
            Self::Usual => 1,
            Self::Quick => 8,
        }
    }

    fn of(tasks: &Tasks, config: &Config) -> Self {
        let all_us = u128::from(tasks.totals.elapsed_us);
        let quick_us = config.quick_task.as_micros().saturating_mul(u128::from(tasks.done));
        match tasks.done >= DONE_MIN && all_us < quick_us {
            true => Self::Quick,
            false => Self::Usual,
        }
    }
}

impl Job {
    /// How long its tasks of a stage take, as far as is known.
    pub(crate) fn pace(&self, stage: Stage) -> Pace {
        self.paces[stage as usize]
    }

    /// Whether it may be given more than there are slots.
    pub(crate) fn is_quick(&self) -> bool {
        self.paces.contains(&Pace::Quick)
    }

    /// Another task of a stage is done.
    pub(crate) fn set_pace(&mut self, stage: Stage, config: &Config) {
        self.paces[stage as usize] = Pace::of(self.tasks(stage), config);
    }
}
