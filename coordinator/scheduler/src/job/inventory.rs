//! Compares what a returning worker has kept of a job with what it should have.

use std::collections::BTreeSet;

use windrow_model::{AttemptId, FailureCause, WorkerId};

use crate::event::Inventory;
use crate::job::attempt::Again;
use crate::job::stage::{AttemptEnd, Stage, TaskState};
use crate::job::{Job, JobResult};
use crate::transition::Transition;

impl Job {
    /// Compares what a returning worker has of this job with what it should have: missing outputs
    /// are lost, unknown attempts are assigned again.
    pub(crate) fn compare(
        &mut self,
        worker: WorkerId,
        inventory: &Inventory,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        let cause = FailureCause::WorkerLost {
            worker,
            reason: "it came back without its outputs or attempts".to_string(),
        };
        for id in self.stages.ids() {
            let stage = &self.stages[id];
            if self.needs_outputs(stage) {
                let missing = missing_outputs(stage, worker, inventory);
                self.outputs_lost(id, &missing, &cause, None, transition)?;
            }
        }
        for attempt in self.unknown_to(worker, inventory, transition) {
            if !self.stages.are_inputs_ready(attempt.task.stage) {
                self.stop(attempt, AttemptEnd::Lost, transition);
                self.retry(attempt, cause.clone(), None, Again::Now, transition)?;
            } else {
                self.assign(attempt, worker, transition);
            }
        }
        Ok(())
    }

    /// Attempts that should run on the worker and are unknown to it.
    fn unknown_to(
        &self,
        worker: WorkerId,
        inventory: &Inventory,
        transition: &Transition<'_>,
    ) -> Vec<AttemptId> {
        let Some(there) = transition.workers.get(worker) else { return Vec::new() };
        let known = |attempt: &AttemptId| {
            inventory.running.contains(attempt) || inventory.unanswered.contains(attempt)
        };
        let of_job = there.running.iter().filter(|attempt| attempt.task.job == self.id);
        of_job.copied().filter(|attempt| !known(attempt)).collect()
    }
}

/// Tasks whose winner's output is missing on the worker.
fn missing_outputs(stage: &Stage, worker: WorkerId, inventory: &Inventory) -> BTreeSet<u32> {
    let Some(held) = stage.outputs().and_then(|outputs| outputs.held_by(worker)) else {
        return BTreeSet::new();
    };
    let has = |&index: &u32| match stage.tasks().task(index).state() {
        TaskState::Done(winner) => {
            debug_assert_eq!(winner.worker, worker, "a winner's output has one holder");
            let attempt = AttemptId { task: stage.tasks().id(index), number: winner.number };
            inventory.outputs.contains(&attempt)
        }
        _ => {
            debug_assert!(false, "a holder lists winners' outputs");
            false
        }
    };
    held.iter().copied().filter(|index| !has(index)).collect()
}
