//! One stage of a job: its tasks, and whether they are quick.

mod cow_list;
mod queue;
mod task;
mod tasks;

pub use cow_list::CowBlock;
pub(crate) use cow_list::CowList;
pub(crate) use queue::Queue;
pub(crate) use task::{Counted, Race, Running, Task, TaskState, Winner};
pub(crate) use tasks::{Tasks, Totals};

use crate::config::Config;
use crate::worker::SlotDepth;

/// How many tasks must be done before they can count as quick.
const DONE_MIN: u32 = 16;

/// How many of these tasks a slot is given at once, by how long they have taken.
pub(crate) fn slot_depth_of(tasks: &Tasks, config: &Config) -> SlotDepth {
    let all_us = u128::from(tasks.totals.elapsed_us);
    let quick_us = config.quick_task.as_micros().saturating_mul(u128::from(tasks.done));
    match tasks.done >= DONE_MIN && all_us < quick_us {
        true => SlotDepth::Several,
        false => SlotDepth::One,
    }
}
