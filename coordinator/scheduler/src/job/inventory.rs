//! Compares what a returning worker has kept of a job with what it should have.

use std::collections::BTreeSet;

use windrow_model::{AttemptId, FailureCause, StageId, WorkerId};

use super::attempt::Again;
use super::stage::TaskState;
use super::{Job, JobResult};
use crate::event::Inventory;
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
        let missing = self.missing_outputs(worker, inventory);
        if let Some(holder) = self.holders.get_mut(&worker) {
            holder.lose(&missing);
        }
        if self.needs_map_outputs() {
            self.outputs_lost(&missing, &cause, None, transition)?;
        }
        for attempt in self.unknown_to(worker, inventory, transition) {
            if attempt.task.stage == StageId::REDUCE && !self.map.all_done() {
                // The map outputs that it would read are not complete.
                self.stop(attempt, transition);
                self.tasks_mut(attempt.task.stage).lost += 1;
                self.retry(attempt, cause.clone(), None, Again::Now, transition)?;
            } else {
                self.assign(attempt, worker, transition);
            }
        }
        Ok(())
    }

    /// Maps whose winner's output is missing on the worker.
    fn missing_outputs(&self, worker: WorkerId, inventory: &Inventory) -> BTreeSet<u32> {
        let Some(holder) = self.holders.get(&worker) else { return BTreeSet::new() };
        let has = |&index: &u32| match &self.map.task(index).state {
            TaskState::Done(winner) => {
                debug_assert_eq!(winner.worker, worker, "a winner's output has one holder");
                let attempt = AttemptId { task: self.map.id(index), number: winner.number };
                inventory.outputs.contains(&attempt)
            }
            _ => {
                debug_assert!(false, "a holder lists winners' outputs");
                false
            }
        };
        holder.outputs().iter().copied().filter(|index| !has(index)).collect()
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
