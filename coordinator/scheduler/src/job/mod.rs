//! One job that has not ended: its stages, its phase, and what it holds against workers.
//!
//! ```text
//!  Job -> Stages -> Stage -> Tasks -> Task -> Charges      each part has private fields, and keeps
//!   |                 +----> Outputs -> Holder             the invariants that its struct names
//!   +---> Avoidance, Tally, Served, Phase
//! ```
//!
//! What concerns several parts is here: the life of an attempt, losses, deaths, clocks, the budget
//! of bad records, the audit and the publication, a file each.

mod attempt;
mod audit;
mod bad_records;
mod blame;
mod clocks;
mod death;
mod inventory;
mod jobs;
mod loss;
pub(crate) mod publication;
pub(crate) mod stage;
mod submitters;
mod tally;
mod view;

pub(crate) use jobs::Jobs;
pub(crate) use submitters::Shares;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windrow_model::{JobId, StageId, TaskId, WorkerId};

use crate::effect::{Effect, JobFailure, MapOutputs};
use crate::event::{JobPlan, SubmissionId};
use crate::job::blame::{Avoidance, Progress};
use crate::job::publication::Phase;
use crate::job::stage::{CowBlock, CowList, Stage, Stages};
use crate::job::submitters::Served;
use crate::job::tally::Tally;
use crate::journal::AttachmentId;
use crate::time::Time;
use crate::transition::Transition;
use crate::view::SlowestTask;
use crate::worker::SlotDepth;

/// A job that runs or is being published.
///
/// Invariants: attempts run only while it has not begun to publish, and only on workers that may
/// hold data of it; the counters are the sums of those of all winners.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    id: JobId,
    /// The submitter's name for it.
    submission: SubmissionId,
    /// The plan, without the splits.
    plan: JobPlan,
    submitted: Time,
    phase: Phase,
    stages: Stages,
    /// Every worker with a session that was ever assigned an attempt, and so may hold data of the
    /// job.
    workers: BTreeSet<WorkerId>,
    /// Workers on which its tasks fail.
    avoidance: Avoidance,
    /// When it was last given a slot.
    served: Served,
    /// Sums of the winners' user counters.
    counters: Tally,
    /// The winner that has taken longest so far.
    slowest: Option<SlowestTask>,
}

/// `Err`: the job has failed, and the caller ends it. Boxed, because failures are rare and large.
pub(crate) type JobResult<T = ()> = Result<T, Box<JobFailure>>;

impl Job {
    /// A job of which nothing has run yet.
    fn new(
        id: JobId,
        submission: SubmissionId,
        mut plan: JobPlan,
        transition: &Transition<'_>,
    ) -> Self {
        debug_assert!(u32::try_from(plan.splits.len()).is_ok(), "split numbers fit into 32 bits");
        let (now, block_len) = (transition.now, transition.config.tasks_per_block);
        let splits = std::mem::take(&mut plan.splits);
        let splits = CowList::new(splits.iter().copied(), block_len);
        // A map-only job has no shuffle.
        let shuffles = if plan.partitions == 0 { &[][..] } else { &[plan.partitions] };
        Self {
            id,
            submission,
            stages: Stages::chain(id, splits, shuffles, block_len),
            plan,
            submitted: now,
            phase: Phase::Running,
            workers: BTreeSet::new(),
            avoidance: Avoidance::default(),
            served: Served::at_submission(now),
            counters: Tally::default(),
            slowest: None,
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> JobId {
        self.id
    }

    /// The plan, without the splits.
    pub(crate) fn plan(&self) -> &JobPlan {
        &self.plan
    }

    /// Its stages.
    pub(crate) fn stages(&self) -> &Stages {
        &self.stages
    }

    /// A stage that it has.
    pub(crate) fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id]
    }

    /// Where it stands.
    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The workers that may hold data of it.
    pub(crate) fn workers(&self) -> &BTreeSet<WorkerId> {
        &self.workers
    }

    /// The workers that it avoids.
    pub(crate) fn avoided(&self) -> &BTreeSet<WorkerId> {
        self.avoidance.avoided()
    }

    /// When it was last given a slot.
    pub(crate) fn served(&self) -> Served {
        self.served
    }

    /// Sums of the winners' user counters.
    pub(crate) fn counters(&self) -> &Tally {
        &self.counters
    }

    /// Notes that it is given a slot, the `turn`th of all jobs.
    pub(crate) fn serve(&mut self, turn: u64, now: Time) {
        self.served.serve(turn, now);
    }

    /// Queues a task that has paused after a failure.
    pub(crate) fn enqueue(&mut self, task: TaskId) {
        self.stages[task.stage].tasks_mut().enqueue(task.index);
    }

    /// Ends the avoidance of a worker, on trial.
    pub(crate) fn give_a_chance(&mut self, worker: WorkerId) {
        self.avoidance.give_a_chance(worker);
    }

    /// Writes the blocks of its splits and tasks that have changed; `write` names each block.
    pub(crate) fn write_blocks(&mut self, write: &mut dyn FnMut(CowBlock) -> AttachmentId) {
        self.stages.iter_mut().for_each(|stage| stage.write_blocks(write));
    }

    /// Calls `name` with each attachment that holds splits or tasks.
    pub(crate) fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        self.stages.iter().for_each(|stage| stage.name_attachments(name));
    }

    /// Takes splits and tasks from the attachments that were read with the job.
    pub(crate) fn take_blocks(&mut self, attachments: &BTreeMap<AttachmentId, CowBlock>) {
        self.stages.iter_mut().for_each(|stage| stage.take_blocks(attachments));
    }

    /// Whether it may be given more tasks than there are slots.
    pub(crate) fn is_quick(&self) -> bool {
        self.stages.iter().any(|stage| stage.slot_depth() == SlotDepth::Several)
    }

    /// The stage that has a task to place now.
    pub(crate) fn placeable(&self) -> Option<StageId> {
        if self.phase.is_running() { self.stages.placeable() } else { None }
    }

    /// The progress of the job, which never decreases.
    fn progress_made(&self) -> Progress {
        let of_stage = |stage: &Stage| {
            let counts = stage.tasks().counts();
            // A lost output that is made again is no progress.
            if stage.consumer().is_some() { u64::from(counts.most_done) } else { counts.won }
        };
        Progress(self.stages.iter().map(of_stage).fold(0, u64::saturating_add))
    }

    /// How many attempts run.
    pub(crate) fn running(&self) -> u32 {
        self.stages.iter().map(|stage| stage.tasks().counts().running).sum()
    }

    /// Whether an unfinished task of another stage may still read the outputs of this one.
    pub(crate) fn needs_outputs(&self, stage: &Stage) -> bool {
        self.phase.is_running() && stage.consumer().is_some()
    }

    /// Whether it needs something that this worker holds.
    pub(crate) fn needs_worker(&self, worker: WorkerId) -> bool {
        let holds_of = |stage: &Stage| {
            stage.outputs().is_some_and(|outputs| outputs.held_by(worker).is_some())
        };
        self.stages.iter().any(|stage| self.needs_outputs(stage) && holds_of(stage))
    }

    /// Where the outputs lie that the tasks of a stage read, once they are complete; `None` if it
    /// reads splits.
    fn inputs_of(&mut self, stage: StageId) -> Option<Arc<MapOutputs>> {
        let before = self.stages[stage].waits_for()?;
        self.stages[before].table()
    }

    /// Begins to publish once the last stage is done. Tasks of earlier ones that run again are not
    /// needed any more.
    fn publish_if_done(&mut self, transition: &mut Transition<'_>) -> JobResult {
        debug_assert!(self.phase.is_running(), "a job is published once");
        if !self.stages.output_tasks().all_done() {
            return Ok(());
        }
        self.check_conservation()?;
        self.phase = Phase::publishing();
        self.stop_all(transition);
        debug_assert_eq!(self.running(), 0, "no attempt writes while parts become visible");
        debug_assert_eq!(self.placeable(), None, "no attempt starts while parts become visible");
        transition.effects.push(self.publish());
        Ok(())
    }

    /// Tells every worker that may hold data of the job to delete it.
    fn release(&self, transition: &mut Transition<'_>) {
        debug_assert_eq!(self.running(), 0, "a running attempt needs its inputs");
        debug_assert!(
            self.workers.iter().all(|&worker| transition.workers.get(worker).is_some()),
            "a worker with its data has a session"
        );
        let release = |&worker| Effect::Release { worker, job: self.id };
        transition.effects.extend(self.workers.iter().map(release));
    }
}
