//! The stages of a job, which form a chain: each reads what the one before it writes.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};
use windrow_model::{JobId, StageId};

use crate::event::SplitPlan;
use crate::job::stage::{CowList, Reads, Stage, Tasks};

/// All stages of one job, in the order in which they run.
///
/// Invariants: there is at least one; the first reads splits, and each of the others the outputs of
/// the stage before it; the last writes parts, and no other does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stages(Vec<Stage>);

impl Stages {
    /// A stage that reads these splits, and after each shuffle one with so many tasks.
    pub(crate) fn chain(
        job: JobId,
        splits: CowList<SplitPlan>,
        shuffles: &[u32],
        block_len: NonZeroU32,
    ) -> Self {
        debug_assert!(shuffles.len() < StageId::ALL.len(), "each stage has an id");
        let bytes = splits.iter().fold(0, |sum, split| split.bytes.saturating_add(sum));
        let first = (splits.len(), Reads::Splits { splits, bytes });
        let later = shuffles.iter().zip(StageId::ALL);
        let later = later.map(|(&count, of)| (count, Reads::Outputs { of }));
        let stages = std::iter::once(first).chain(later).zip(StageId::ALL);
        let consumer = |id: StageId| StageId::ALL[..=shuffles.len()].get(id.index() + 1).copied();
        Self(stages.map(|(part, id)| Stage::new(job, id, part, consumer(id), block_len)).collect())
    }

    /// The stage that a message names, if the job has it.
    pub(crate) fn get(&self, id: StageId) -> Option<&Stage> {
        self.0.get(id.index())
    }

    /// The stage that a message names, if the job has it, to be changed.
    pub(crate) fn get_mut(&mut self, id: StageId) -> Option<&mut Stage> {
        self.0.get_mut(id.index())
    }

    /// All stages in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stage> {
        self.0.iter()
    }

    /// All stages in order, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stage> {
        self.0.iter_mut()
    }

    /// The ids of all stages in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = StageId> + use<> {
        StageId::ALL.into_iter().take(self.0.len())
    }

    /// The tasks whose winners write the parts.
    pub(crate) fn output_tasks(&self) -> &Tasks {
        debug_assert!(!self.0.is_empty(), "a job has a stage");
        self.0[self.0.len() - 1].tasks()
    }

    /// The stage that reads the outputs of another, if those are not parts.
    pub(crate) fn consumer_of(&self, id: StageId) -> Option<&Stage> {
        self[id].consumer().map(|consumer| &self[consumer])
    }

    /// Whether all that the tasks of a stage read is there.
    pub(crate) fn are_inputs_ready(&self, id: StageId) -> bool {
        self[id].waits_for().is_none_or(|before| self[before].tasks().all_done())
    }

    /// The first stage with a queued task, if that can run: what later ones read is then not
    /// complete.
    pub(crate) fn placeable(&self) -> Option<StageId> {
        let queued = self.0.iter().find(|stage| !stage.tasks().queue().is_empty())?.id();
        self.are_inputs_ready(queued).then_some(queued)
    }
}

impl Index<StageId> for Stages {
    type Output = Stage;

    fn index(&self, id: StageId) -> &Stage {
        &self.0[id.index()]
    }
}

impl IndexMut<StageId> for Stages {
    fn index_mut(&mut self, id: StageId) -> &mut Stage {
        &mut self.0[id.index()]
    }
}
