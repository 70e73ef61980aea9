//! What a worker that returns has kept of a job, compared with what it should have.

use std::collections::BTreeSet;

use windrow_model::{AttemptId, FailureCause, StageId, WorkerId};

use super::attempt::Again;
use super::stage::TaskState;
use super::{Job, JobResult};
use crate::event::Inventory;
use crate::step::Step;

impl Job {
    /// Compares what a returning worker has of this job with what it should have.
    pub(crate) fn compare(
        &mut self,
        worker: WorkerId,
        inventory: &Inventory,
        step: &mut Step<'_>,
    ) -> JobResult {
        let cause = FailureCause::WorkerLost {
            worker,
            reason: "it came back without what it had".to_string(),
        };
        let missing = self.missing_outputs(worker, inventory);
        if let Some(holder) = self.holders.get_mut(&worker) {
            holder.lose(&missing);
        }
        if self.needs_map_outputs() {
            self.outputs_lost(&missing, &cause, None, step)?;
        }
        for attempt in self.unknown_to(worker, inventory, step) {
            if attempt.task.stage == StageId::REDUCE && !self.map.all_done() {
                // There is nothing that it could be told to read.
                self.stop(attempt, step);
                self.tasks_mut(attempt.task.stage).lost += 1;
                self.retry(attempt, cause.clone(), None, Again::Now, step)?;
            } else {
                self.assign(attempt, worker, step);
            }
        }
        Ok(())
    }

    /// Maps whose winner's output the worker should have, and has not.
    fn missing_outputs(&self, worker: WorkerId, inventory: &Inventory) -> BTreeSet<u32> {
        let Some(holder) = self.holders.get(&worker) else { return BTreeSet::new() };
        let has = |&index: &u32| match &self.map.task(index).state {
            TaskState::Done(winner) => {
                debug_assert_eq!(winner.worker, worker, "a winner's output has one holder");
                let attempt = AttemptId { task: self.map.id(index), number: winner.number };
                inventory.outputs.contains(&attempt)
            }
            _ => {
                debug_assert!(false, "what is listed at a holder is a winner's output");
                false
            }
        };
        holder.outputs().iter().copied().filter(|index| !has(index)).collect()
    }

    /// Attempts that should run on the worker, and of which it knows nothing.
    fn unknown_to(
        &self,
        worker: WorkerId,
        inventory: &Inventory,
        step: &Step<'_>,
    ) -> Vec<AttemptId> {
        let Some(there) = step.workers.get(worker) else { return Vec::new() };
        let known = |attempt: &AttemptId| {
            inventory.running.contains(attempt) || inventory.unanswered.contains(attempt)
        };
        let of_job = there.running.iter().filter(|attempt| attempt.task.job == self.id);
        of_job.copied().filter(|attempt| !known(attempt)).collect()
    }
}
