//! One stage of a job: its tasks, what they read, and what they write.
//!
//! ```text
//!  reads                        writes
//!  splits of the input          outputs, partitioned for the stage that consumes them
//!  a partition of the outputs   parts of the job's output
//!  of an earlier stage
//! ```
//!
//! Maps read splits and write outputs, or parts in a map-only job; reduces read outputs and write
//! parts. Nothing here knows that there are at most two stages.

mod counts;
mod cow_list;
mod digest;
mod holder;
mod outputs;
mod queue;
mod stages;
mod task;
mod tasks;
mod totals;

pub(crate) use counts::{AttemptEnd, Counts};
pub use cow_list::CowBlock;
pub(crate) use cow_list::CowList;
pub(crate) use digest::ShuffleDigest;
pub(crate) use holder::Complaint;
pub(crate) use outputs::Outputs;
pub(crate) use queue::Queue;
pub(crate) use stages::Stages;
pub(crate) use task::{Counted, Race, Running, Task, TaskState, Winner};
pub(crate) use tasks::{Tasks, Won};
pub(crate) use totals::{Totals, WorkUnit};

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, JobId, StageId, WorkerId};

use crate::config::Config;
use crate::effect::MapOutputs;
use crate::event::SplitPlan;
use crate::journal::AttachmentId;
use crate::worker::SlotDepth;

/// How many tasks must be done before they can count as quick.
const DONE_MIN: u32 = 16;

/// One stage.
///
/// Invariants: if it reads splits, there is one for each task; if it writes outputs, these are the
/// outputs of exactly the tasks that are done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stage {
    tasks: Tasks,
    reads: Reads,
    writes: Writes,
    /// How many of its tasks a slot is given at once.
    slot_depth: SlotDepth,
}

/// What the tasks of a stage read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Reads {
    /// A split each, of this size in all.
    Splits { splits: CowList<SplitPlan>, bytes: u64 },
    /// A partition each of all outputs of an earlier stage, for which they wait.
    Outputs { of: StageId },
}

/// What the tasks of a stage write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Writes {
    /// Outputs that lie at the workers until the consumer has read them.
    Outputs { consumer: StageId, outputs: Outputs },
    /// Parts of the job's output.
    Parts,
}

impl Reads {
    fn work_unit(&self) -> WorkUnit {
        match self {
            Self::Splits { .. } => WorkUnit::Bytes,
            Self::Outputs { .. } => WorkUnit::Records,
        }
    }
}

impl Stage {
    fn new(
        job: JobId,
        id: StageId,
        (count, reads): (u32, Reads),
        consumer: Option<StageId>,
        block_len: NonZeroU32,
    ) -> Self {
        let writes = consumer.map(|consumer| Writes::Outputs { consumer, outputs: Outputs::new() });
        Self {
            tasks: Tasks::new(job, id, count, reads.work_unit(), block_len),
            reads,
            writes: writes.unwrap_or(Writes::Parts),
            slot_depth: SlotDepth::default(),
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> StageId {
        self.tasks.stage()
    }

    /// Its tasks.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Its tasks, to be changed. Only the stage itself lets one win or be lost, since its outputs
    /// change with that.
    pub(crate) fn tasks_mut(&mut self) -> &mut Tasks {
        &mut self.tasks
    }

    /// The stage whose outputs it reads, if it does not read splits. Its tasks run only while all
    /// these outputs are there.
    pub(crate) fn waits_for(&self) -> Option<StageId> {
        match self.reads {
            Reads::Splits { .. } => None,
            Reads::Outputs { of } => Some(of),
        }
    }

    /// The stage that reads its outputs, if it does not write parts.
    pub(crate) fn consumer(&self) -> Option<StageId> {
        match self.writes {
            Writes::Outputs { consumer, .. } => Some(consumer),
            Writes::Parts => None,
        }
    }

    /// Its outputs, if it does not write parts.
    pub(crate) fn outputs(&self) -> Option<&Outputs> {
        match &self.writes {
            Writes::Outputs { outputs, .. } => Some(outputs),
            Writes::Parts => None,
        }
    }

    /// Its outputs, if it does not write parts, to be changed.
    pub(crate) fn outputs_mut(&mut self) -> Option<&mut Outputs> {
        match &mut self.writes {
            Writes::Outputs { outputs, .. } => Some(outputs),
            Writes::Parts => None,
        }
    }

    /// The split of a task, if the stage reads splits.
    pub(crate) fn split(&self, index: u32) -> Option<&SplitPlan> {
        let Reads::Splits { splits, .. } = &self.reads else { return None };
        debug_assert!(splits.get(index).is_some(), "each task has its split");
        splits.get(index)
    }

    /// The size of its splits, if it reads splits.
    pub(crate) fn split_bytes(&self) -> Option<u64> {
        match self.reads {
            Reads::Splits { bytes, .. } => Some(bytes),
            Reads::Outputs { .. } => None,
        }
    }

    /// How many of its tasks a slot is given at once.
    pub(crate) fn slot_depth(&self) -> SlotDepth {
        self.slot_depth
    }

    /// Where its outputs lie, once all tasks are done; `None` if it writes parts.
    pub(crate) fn table(&mut self) -> Option<Arc<MapOutputs>> {
        debug_assert!(self.tasks.all_done(), "a table with gaps would lose pairs");
        let Writes::Outputs { outputs, .. } = &mut self.writes else { return None };
        let winners = self.tasks.winners().map(|(attempt, winner)| (attempt, winner.worker));
        let table = outputs.table(winners);
        debug_assert_eq!(table.outputs.len() as u32, self.tasks.len(), "each task has its winner");
        Some(table)
    }

    /// Makes an attempt that runs on `worker` the winner of its task. `None` if it does not run.
    pub(crate) fn win(
        &mut self,
        attempt: AttemptId,
        worker: WorkerId,
        counted: Counted,
        written: ShuffleDigest,
        config: &Config,
    ) -> Option<Won> {
        let index = attempt.task.index;
        let won = self.tasks.win(index, attempt.number, counted, written)?;
        if let Some(outputs) = self.outputs_mut() {
            outputs.keep(worker, index);
        }
        self.slot_depth = slot_depth_of(&self.tasks, config);
        Some(won)
    }

    /// Done to waiting: what these tasks wrote cannot be read any more, or must be written again.
    /// Returns the former winners.
    pub(crate) fn lose(&mut self, lost: &BTreeSet<u32>) -> Vec<Winner> {
        let lose = |&index| Some((index, self.tasks.lose(index)?));
        let lost: Vec<_> = lost.iter().filter_map(lose).collect();
        if let Some(outputs) = self.outputs_mut() {
            outputs.lose(lost.iter().map(|(index, winner)| (winner.worker, *index)));
        }
        lost.into_iter().map(|(_, winner)| winner).collect()
    }

    /// Writes the blocks of its splits and tasks that have changed; `write` names each block.
    pub(crate) fn write_blocks(&mut self, write: &mut dyn FnMut(CowBlock) -> AttachmentId) {
        if let Reads::Splits { splits, .. } = &mut self.reads {
            splits.write(write);
        }
        self.tasks.blocks_mut().write(write);
    }

    /// Calls `name` with each attachment that holds splits or tasks.
    pub(crate) fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        if let Reads::Splits { splits, .. } = &self.reads {
            splits.name_attachments(name);
        }
        self.tasks.blocks().name_attachments(name);
    }

    /// Takes splits and tasks from the attachments that were read with the job.
    pub(crate) fn take_blocks(&mut self, attachments: &BTreeMap<AttachmentId, CowBlock>) {
        if let Reads::Splits { splits, .. } = &mut self.reads {
            splits.take(attachments);
        }
        self.tasks.blocks_mut().take(attachments);
    }
}

/// How many of these tasks a slot is given at once, by how long they have taken.
fn slot_depth_of(tasks: &Tasks, config: &Config) -> SlotDepth {
    let done = tasks.counts().done;
    let all_us = u128::from(tasks.totals().elapsed_us);
    let quick_us = config.quick_task.as_micros().saturating_mul(u128::from(done));
    match done >= DONE_MIN && all_us < quick_us {
        true => SlotDepth::Several,
        false => SlotDepth::One,
    }
}
