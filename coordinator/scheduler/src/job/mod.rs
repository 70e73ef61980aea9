//! One job that has not ended: its tasks, its phase, and which workers hold outputs of it.

pub(crate) mod attempt;
mod audit;
mod bad_records;
pub(crate) mod blame;
mod clocks;
mod death;
mod inventory;
mod jobs;
mod loss;
pub(crate) mod outputs;
pub(crate) mod publication;
mod retry;
pub(crate) mod stage;
mod submitters;
mod tally;
mod view;

pub(crate) use jobs::Jobs;
pub(crate) use submitters::Shares;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windrow_model::{JobId, StageId, WorkerId};

use crate::config::Config;
use crate::effect::{Effect, JobFailure, MapOutputs};
use crate::event::{JobPlan, SplitPlan, SubmissionId};
use crate::job::blame::{Avoidance, Progress};
use crate::job::outputs::Holder;
use crate::job::publication::FailedPublication;
use crate::job::stage::{CowBlock, CowList, Tasks, slot_depth_of};
use crate::job::tally::Tally;
use crate::journal::AttachmentId;
use crate::time::Time;
use crate::transition::Transition;
use crate::view::SlowestTask;
use crate::worker::SlotDepth;

/// A job that runs or is being published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Its id.
    pub(crate) id: JobId,
    /// The submitter's name for it.
    pub(crate) submission: SubmissionId,
    /// The plan, without the splits.
    pub(crate) plan: JobPlan,
    /// One for each map task.
    pub(crate) splits: CowList<SplitPlan>,
    /// Size of all splits.
    pub(crate) input_bytes: u64,
    /// Where the job stands.
    pub(crate) phase: Phase,
    /// One task per split.
    pub(crate) map: Tasks,
    /// One task per partition; none in a map-only job.
    pub(crate) reduce: Tasks,
    /// Every worker with a session that was ever assigned an attempt, and so may hold data of the
    /// job.
    pub(crate) holders: BTreeMap<WorkerId, Holder>,
    /// Workers on which its tasks fail.
    pub(crate) avoidance: Avoidance,
    /// By stage, how many tasks a slot is given at once.
    pub(crate) slot_depths: [SlotDepth; 2],
    /// When the job was last given a slot, counted in slots given to all jobs.
    pub(crate) turn: u64,
    /// When it was last given a slot, or was submitted.
    pub(crate) served: Time,
    /// When it was submitted.
    pub(crate) submitted: Time,
    /// Sums of the winners' user counters.
    pub(crate) counters: Tally,
    /// The first map task whose second run wrote something else.
    pub(crate) nondeterministic: Option<u32>,
    /// Whether reducers may have read different outputs of one map, all of them combined from the
    /// same pairs.
    pub(crate) mixed_outputs: bool,
    /// The winner that has taken longest so far.
    pub(crate) slowest: Option<SlowestTask>,
    /// The failed attempts to publish it, if there are any.
    pub(crate) publication: Option<Box<FailedPublication>>,
    /// Where the map outputs lie, collected when the first reducer needs it.
    #[serde(skip)]
    outputs: Option<Arc<MapOutputs>>,
    /// Incremented when that changes.
    pub(crate) outputs_version: u64,
}

/// The phases of a job that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Tasks wait or run.
    Running,
    /// All tasks are done, and the output is being made visible, or waits to be. The job never
    /// returns to its tasks, and needs no worker any more. It can be cancelled only while it waits.
    Publishing,
}

/// `Err`: the job has failed, and the caller ends it. Boxed, because failures are rare and large.
pub(crate) type JobResult<T = ()> = Result<T, Box<JobFailure>>;

impl Job {
    /// A job of which nothing has run yet.
    pub(crate) fn new(
        id: JobId,
        submission: SubmissionId,
        mut plan: JobPlan,
        transition: &Transition<'_>,
    ) -> Self {
        debug_assert!(u32::try_from(plan.splits.len()).is_ok(), "split numbers fit into 32 bits");
        let (now, block_len) = (transition.now, transition.config.tasks_per_block);
        let splits = std::mem::take(&mut plan.splits);
        let splits = CowList::new(splits.iter().copied(), block_len);
        Self {
            id,
            submission,
            input_bytes: splits.iter().fold(0, |sum, split| split.bytes.saturating_add(sum)),
            phase: Phase::Running,
            map: Tasks::new(id, StageId::MAP, splits.len(), block_len),
            reduce: Tasks::new(id, StageId::REDUCE, plan.partitions, block_len),
            plan,
            splits,
            holders: BTreeMap::new(),
            avoidance: Avoidance::default(),
            slot_depths: [SlotDepth::default(); 2],
            turn: 0,
            served: now,
            submitted: now,
            counters: Tally::default(),
            nondeterministic: None,
            mixed_outputs: false,
            slowest: None,
            publication: None,
            outputs: None,
            outputs_version: 1,
        }
    }

    /// Writes the blocks of its splits and tasks that have changed; `write` names each block.
    pub(crate) fn write_blocks(&mut self, write: &mut dyn FnMut(CowBlock) -> AttachmentId) {
        self.splits.write(write);
        self.map.blocks_mut().write(write);
        self.reduce.blocks_mut().write(write);
    }

    /// Calls `name` with each attachment that holds splits or tasks.
    pub(crate) fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        self.splits.name_attachments(name);
        self.map.blocks().name_attachments(name);
        self.reduce.blocks().name_attachments(name);
    }

    /// Takes splits and tasks from the attachments that were read with the job.
    pub(crate) fn take_blocks(&mut self, attachments: &BTreeMap<AttachmentId, CowBlock>) {
        self.splits.take(attachments);
        self.map.blocks_mut().take(attachments);
        self.reduce.blocks_mut().take(attachments);
    }

    /// Whether the maps write the job's output.
    pub(crate) fn is_map_only(&self) -> bool {
        self.plan.partitions == 0
    }

    /// The tasks of a stage.
    pub(crate) fn tasks(&self, stage: StageId) -> &Tasks {
        match stage {
            StageId::MAP => &self.map,
            _ => &self.reduce,
        }
    }

    /// The tasks of a stage, to be changed.
    pub(crate) fn tasks_mut(&mut self, stage: StageId) -> &mut Tasks {
        match stage {
            StageId::MAP => &mut self.map,
            _ => &mut self.reduce,
        }
    }

    /// How many tasks of a stage a slot is given at once.
    pub(crate) fn slot_depth(&self, stage: StageId) -> SlotDepth {
        self.slot_depths[stage.index()]
    }

    /// Whether it may be given more tasks than there are slots.
    pub(crate) fn is_quick(&self) -> bool {
        self.slot_depths.contains(&SlotDepth::Several)
    }

    /// Sets the slot depth of a stage after another of its tasks is done.
    fn set_slot_depth(&mut self, stage: StageId, config: &Config) {
        self.slot_depths[stage.index()] = slot_depth_of(self.tasks(stage), config);
    }

    /// The tasks of the last stage, whose winners write the parts.
    pub(crate) fn output_tasks(&self) -> &Tasks {
        if self.is_map_only() { &self.map } else { &self.reduce }
    }

    /// The stage that has a task to place now. Reduce tasks wait until every map is done.
    pub(crate) fn placeable(&self) -> Option<StageId> {
        let reduces_may_run = self.map.all_done() && !self.reduce.queue().is_empty();
        match self.phase {
            Phase::Publishing => None,
            Phase::Running if !self.map.queue().is_empty() => Some(StageId::MAP),
            Phase::Running => reduces_may_run.then_some(StageId::REDUCE),
        }
    }

    /// The progress of the job, which never decreases.
    pub(crate) fn progress_made(&self) -> Progress {
        Progress(u64::from(self.map.most_done).saturating_add(self.reduce.won))
    }

    /// How many attempts run.
    pub(crate) fn running(&self) -> u32 {
        self.map.running + self.reduce.running
    }

    /// Whether an unfinished reduce task may still read map outputs.
    pub(crate) fn needs_map_outputs(&self) -> bool {
        self.phase == Phase::Running && !self.is_map_only()
    }

    /// Whether it needs something that this worker holds.
    pub(crate) fn needs_worker(&self, worker: WorkerId) -> bool {
        self.needs_map_outputs()
            && self.holders.get(&worker).is_some_and(|holder| !holder.outputs().is_empty())
    }

    /// Where the map outputs lie, once all maps are done. O(M) for the first reducer after a
    /// change.
    pub(crate) fn map_outputs(&mut self) -> Arc<MapOutputs> {
        debug_assert!(self.map.all_done(), "a table with gaps would lose pairs");
        let outputs = self.outputs.get_or_insert_with(|| {
            let outputs = self.map.winners().map(|(attempt, winner)| (attempt, winner.worker));
            Arc::new(MapOutputs { version: self.outputs_version, outputs: outputs.collect() })
        });
        debug_assert_eq!(outputs.outputs.len() as u32, self.map.len(), "each map has its winner");
        debug_assert_eq!(outputs.version, self.outputs_version, "a change forgets the table");
        Arc::clone(outputs)
    }

    /// Drops the table of map outputs, after a change; the next one has a later version.
    pub(crate) fn forget_map_outputs(&mut self) {
        debug_assert!(self.needs_map_outputs(), "map outputs change only while reducers need them");
        self.outputs = None;
        self.outputs_version += 1;
    }

    /// Begins to publish once the output stage is done. Maps that run again are not needed any
    /// more.
    pub(crate) fn publish_if_done(&mut self, transition: &mut Transition<'_>) -> JobResult {
        debug_assert_eq!(self.phase, Phase::Running, "a job is published once");
        if !self.output_tasks().all_done() {
            return Ok(());
        }
        self.check_conservation()?;
        self.phase = Phase::Publishing;
        self.stop_all(transition);
        debug_assert_eq!(self.running(), 0, "no attempt writes while parts become visible");
        debug_assert_eq!(self.placeable(), None, "no attempt starts while parts become visible");
        debug_assert!(self.publication.is_none(), "nothing was published before");
        transition.effects.push(self.publish());
        Ok(())
    }

    /// Tells every worker that may hold data of the job to delete it.
    pub(crate) fn release(&self, transition: &mut Transition<'_>) {
        debug_assert_eq!(self.running(), 0, "a running attempt needs its inputs");
        debug_assert!(
            self.holders.keys().all(|&worker| transition.workers.get(worker).is_some()),
            "a holder has a session"
        );
        let release = |&worker| Effect::Release { worker, job: self.id };
        transition.effects.extend(self.holders.keys().map(release));
    }
}
