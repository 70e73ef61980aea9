//! Checks that reducers have read what the maps wrote.
//!
//! A map's output may be lost after some reducers have read it, and is then made again. As long as
//! the map is deterministic, that makes no difference. If it is not, some reducers would have read
//! its first output and others its second, and a pair could be missed or counted twice. The digest
//! of what a map wrote, kept as long as the job runs, detects that; all reducers that have read an
//! older output then run again.
//!
//! A map with a combiner that spills before it has combined all pairs writes other pairs each time,
//! though from the same input. In that case, the keys that its mapper has emitted are compared
//! instead.
//!
//! At the end, what all winning reducers have read must equal what all winning maps wrote, pair for
//! pair.

use std::collections::BTreeSet;

use windrow_model::{AttemptId, Audit, StageId, TaskId};

use crate::effect::JobFailure;
use crate::job::stage::{AttemptEnd, Outputs, ShuffleDigest, Stage, Task, TaskState};
use crate::job::{Job, JobResult};
use crate::transition::Transition;

impl Job {
    /// Compares a task's new output with its former one. If they differ, tasks that may have read
    /// the former one run again.
    pub(super) fn compare_with_former(
        &mut self,
        stage: StageId,
        index: u32,
        former: ShuffleDigest,
        written: ShuffleDigest,
        transition: &mut Transition<'_>,
    ) {
        let Some(reader) = self.stages[stage].consumer() else { return };
        let Some(outputs) = self.stages[stage].outputs_mut() else { return };
        let version = outputs.version();
        if !former.means_the_same(written) {
            outputs.differ(index);
            for index in 0..self.stages[reader].tasks().len() {
                let task = self.stages[reader].tasks().id(index);
                self.redo_if_older(task, version, transition);
            }
        } else if former.audit() != written.audit() {
            let has_read_older = |task| has_read_older(task, version);
            if self.stages[reader].tasks().iter().any(has_read_older) {
                self.stages[stage].outputs_mut().into_iter().for_each(Outputs::mix);
            }
        }
    }

    /// Runs a task again that has read, or may have read, its inputs in an older version than this.
    /// It is charged with nothing.
    fn redo_if_older(&mut self, task: TaskId, version: u64, transition: &mut Transition<'_>) {
        let TaskId { stage, index, .. } = task;
        match self.stages[stage].tasks().task(index).state() {
            TaskState::Running(race) => {
                let older: Vec<_> = race
                    .iter()
                    .filter(|running| running.inputs_version < version)
                    .map(|running| AttemptId { task, number: running.number })
                    .collect();
                for attempt in older {
                    self.give_up(attempt, AttemptEnd::Overtaken, transition);
                }
                self.stages[stage].tasks_mut().enqueue_if_waiting(index);
            }
            TaskState::Done(winner) if winner.inputs_version < version => {
                for winner in self.stages[stage].lose(&BTreeSet::from([index])) {
                    self.counters.subtract(&winner.counted.counters);
                }
                self.stages[stage].tasks_mut().enqueue(index);
            }
            TaskState::Done(_) | TaskState::Queued | TaskState::Waiting => {}
        }
    }

    /// Fails the job if the winners of a stage have not read what those of the stage before it
    /// wrote. If they have read different outputs of one task (`are_mixed`), the sums differ
    /// although nothing was lost, so they are not compared: each reader has checked what it read
    /// against the output it came from.
    pub(super) fn check_conservation(&self) -> JobResult {
        for stage in self.stages.iter() {
            let Some(reader) = self.stages.consumer_of(stage.id()) else { continue };
            if stage.outputs().is_some_and(|outputs| outputs.are_mixed()) {
                continue;
            }
            debug_assert!(reader.tasks().all_done(), "the sum is known when all readers are done");
            let (written, read) = (sum(stage), sum(reader));
            if read != written {
                return Err(Box::new(JobFailure::Audit { written, read }));
            }
        }
        Ok(())
    }
}

/// Whether a task has read, or may have read, its inputs in an older version than this.
fn has_read_older(task: &Task, version: u64) -> bool {
    match task.state() {
        TaskState::Running(race) => race.iter().any(|running| running.inputs_version < version),
        TaskState::Done(winner) => winner.inputs_version < version,
        TaskState::Queued | TaskState::Waiting => false,
    }
}

/// What the tasks of a stage have written, or read. Of the tasks, not of their winners: the output
/// of a task that is running again may have been read before it was lost.
fn sum(stage: &Stage) -> Audit {
    let mut sum = Audit::default();
    let written = stage.tasks().iter().filter_map(Task::written);
    written.for_each(|written| sum.merge(written.audit()));
    sum
}
