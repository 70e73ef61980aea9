//! One job that has not ended: its tasks, its phase, and who holds what of it.

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
use crate::job::stage::{Piece, Pieces, Tasks, pace_of};
use crate::job::tally::Tally;
use crate::journal::PartId;
use crate::step::Step;
use crate::time::Time;
use crate::view::SlowestTask;
use crate::worker::Pace;

/// A job that runs or is being published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Its name.
    pub(crate) id: JobId,
    /// As its submitter has named it.
    pub(crate) submission: SubmissionId,
    /// What was asked for, without the splits.
    pub(crate) plan: JobPlan,
    /// One for each map task.
    pub(crate) splits: Pieces<SplitPlan>,
    /// Size of all splits.
    pub(crate) input_bytes: u64,
    /// How far it is.
    pub(crate) phase: Phase,
    /// One task a split.
    pub(crate) map: Tasks,
    /// One task a partition; none in a map-only job.
    pub(crate) reduce: Tasks,
    /// Every worker with a session that was ever given an attempt, and so may hold something of the
    /// job.
    pub(crate) holders: BTreeMap<WorkerId, Holder>,
    /// Workers on which its tasks fail.
    pub(crate) avoidance: Avoidance,
    /// By stage, how long its tasks take.
    pub(crate) paces: [Pace; 2],
    /// When the job was last given a slot, counted in slots given to any job.
    pub(crate) turn: u64,
    /// When it was last given a slot, or was submitted.
    pub(crate) served: Time,
    /// When it was submitted.
    pub(crate) submitted: Time,
    /// Sums of the winners' counters.
    pub(crate) counters: Tally,
    /// The first map task that was found to have written something else when it was run again.
    pub(crate) nondeterministic: Option<u32>,
    /// Whether some reducers may have read one output of a map and others another one, both
    /// combined from the same pairs.
    pub(crate) mixed_outputs: bool,
    /// The longest winner so far.
    pub(crate) slowest: Option<SlowestTask>,
    /// Why it could not be published so far, if that was tried in vain.
    pub(crate) publication: Option<Box<FailedPublication>>,
    /// What reducers are told, made when the first one needs it.
    #[serde(skip)]
    outputs: Option<Arc<MapOutputs>>,
    /// Grows when what they were told is not true any more.
    pub(crate) outputs_version: u64,
}

/// The phases of a job that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Tasks wait or run.
    Running,
    /// All that was asked for is done, and is being made visible, or waits to be. There is no way
    /// back to its tasks: it needs no worker any more. It can be cancelled only while it waits.
    Publishing,
}

/// `Err`: the job fails, and is to be ended. Boxed, because failures are rare and large.
pub(crate) type JobResult<T = ()> = Result<T, Box<JobFailure>>;

impl Job {
    /// A job none of whose tasks was tried.
    pub(crate) fn new(
        id: JobId,
        submission: SubmissionId,
        mut plan: JobPlan,
        step: &Step<'_>,
    ) -> Self {
        debug_assert!(
            u32::try_from(plan.splits.len()).is_ok(),
            "a split whose number does not fit would be read by no task"
        );
        let (now, piece_len) = (step.now, step.config.tasks_a_piece);
        let splits = std::mem::take(&mut plan.splits);
        let splits = Pieces::new(splits.iter().copied(), piece_len);
        Self {
            id,
            submission,
            input_bytes: splits.iter().fold(0, |sum, split| split.bytes.saturating_add(sum)),
            phase: Phase::Running,
            map: Tasks::new(id, StageId::MAP, splits.len(), piece_len),
            reduce: Tasks::new(id, StageId::REDUCE, plan.partitions, piece_len),
            plan,
            splits,
            holders: BTreeMap::new(),
            avoidance: Avoidance::default(),
            paces: [Pace::default(); 2],
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

    /// Has written what has changed of its splits and tasks; `write` names each piece.
    pub(crate) fn write_pieces(&mut self, write: &mut dyn FnMut(Piece) -> PartId) {
        self.splits.write(write);
        self.map.pieces_mut().write(write);
        self.reduce.pieces_mut().write(write);
    }

    /// Calls `name` with each part of the journal in which splits or tasks lie.
    pub(crate) fn name_parts(&self, name: &mut dyn FnMut(PartId)) {
        self.splits.name_parts(name);
        self.map.pieces().name_parts(name);
        self.reduce.pieces().name_parts(name);
    }

    /// Takes splits and tasks from the parts that were read with the job.
    pub(crate) fn take_pieces(&mut self, parts: &BTreeMap<PartId, Piece>) {
        self.splits.take(parts);
        self.map.pieces_mut().take(parts);
        self.reduce.pieces_mut().take(parts);
    }

    /// Whether the maps' output is the job's output.
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

    /// How long its tasks of a stage take, as far as is known.
    pub(crate) fn pace(&self, stage: StageId) -> Pace {
        self.paces[stage.index()]
    }

    /// Whether it may be given more than there are slots.
    pub(crate) fn is_quick(&self) -> bool {
        self.paces.contains(&Pace::Quick)
    }

    /// Another task of a stage is done.
    fn set_pace(&mut self, stage: StageId, config: &Config) {
        self.paces[stage.index()] = pace_of(self.tasks(stage), config);
    }

    /// The last stage: the one whose winners write the parts.
    pub(crate) fn output_tasks(&self) -> &Tasks {
        if self.is_map_only() { &self.map } else { &self.reduce }
    }

    /// The stage of which a task could be placed now. Reduce tasks wait until every map is done.
    pub(crate) fn placeable(&self) -> Option<StageId> {
        let reduces_may_run = self.map.all_done() && !self.reduce.queue().is_empty();
        match self.phase {
            Phase::Publishing => None,
            Phase::Running if !self.map.queue().is_empty() => Some(StageId::MAP),
            Phase::Running => reduces_may_run.then_some(StageId::REDUCE),
        }
    }

    /// How far it has come.
    pub(crate) fn progress_made(&self) -> Progress {
        Progress(u64::from(self.map.most_done).saturating_add(self.reduce.won))
    }

    /// Attempts that run.
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

    /// Where the outputs of the map tasks lie, which are all done. O(M) for the first reducer after
    /// a change.
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

    /// What reducers were told is not true any more; what they hear next is of a later version.
    pub(crate) fn forget_map_outputs(&mut self) {
        debug_assert!(self.needs_map_outputs(), "what nobody reads does not change");
        self.outputs = None;
        self.outputs_version += 1;
    }

    /// Begins to publish if all that was asked for is done. Maps that are being redone are not
    /// needed any more.
    pub(crate) fn publish_if_done(&mut self, step: &mut Step<'_>) -> JobResult {
        debug_assert_eq!(self.phase, Phase::Running, "a job is published once");
        if !self.output_tasks().all_done() {
            return Ok(());
        }
        self.check_conservation()?;
        self.phase = Phase::Publishing;
        self.stop_all(step);
        debug_assert_eq!(self.running(), 0, "nothing writes any more when parts become visible");
        debug_assert_eq!(self.placeable(), None, "nothing starts any more either");
        debug_assert!(self.publication.is_none(), "nothing was published before all was done");
        step.effects.push(self.publish());
        Ok(())
    }

    /// Tells every worker that may hold something of the job that it can go.
    pub(crate) fn release(&self, step: &mut Step<'_>) {
        debug_assert_eq!(self.running(), 0, "what runs would lose what it reads");
        debug_assert!(
            self.holders.keys().all(|&worker| step.workers.get(worker).is_some()),
            "who has lost its session has lost its outputs, and is told nothing"
        );
        let release = |&worker| Effect::Release { worker, job: self.id };
        step.effects.extend(self.holders.keys().map(release));
    }
}
