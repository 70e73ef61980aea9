//! One stage of a job: its tasks, and how long they take.

mod pieces;
mod queue;
mod task;
mod tasks;

pub use pieces::Piece;
pub(crate) use pieces::Pieces;
pub(crate) use queue::Queue;
pub(crate) use task::{Counted, Race, Running, Task, TaskState, Winner};
pub(crate) use tasks::{Tasks, Totals};

use crate::config::Config;
use crate::worker::Pace;

/// So many tasks must be done before they count as quick.
const DONE_MIN: u32 = 16;

/// How long these tasks take, as far as is known.
pub(crate) fn pace_of(tasks: &Tasks, config: &Config) -> Pace {
    let all_us = u128::from(tasks.totals.elapsed_us);
    let quick_us = config.quick_task.as_micros().saturating_mul(u128::from(tasks.done));
    match tasks.done >= DONE_MIN && all_us < quick_us {
        true => Pace::Quick,
        false => Pace::Usual,
    }
}
