//! Which workers a job or a task avoids, because others could do better.

use windrow_model::{StageId, WorkerId};

use crate::job::Job;
use crate::worker::{Pace, Workers};

impl Job {
    /// The workers that get no task of a stage, because others could run it. O(1) unless there is
    /// something against any.
    pub(crate) fn avoids<'a>(
        &'a self,
        stage: StageId,
        workers: &'a Workers,
    ) -> impl Fn(WorkerId) -> bool + Copy + 'a {
        let avoided = self.avoidance.avoided();
        let others = !avoided.is_empty()
            && self.could_run(stage, workers).any(|worker| !avoided.contains(&worker));
        move |worker| others && avoided.contains(&worker)
    }

    /// Whether a task rather waits for another worker than to go to this one. Where it could not
    /// fetch, it does not wait: the fault may lie with what it fetched from, and those that are
    /// busy may be so for long.
    pub(crate) fn shuns(
        &self,
        stage: StageId,
        index: u32,
        worker: WorkerId,
        workers: &Workers,
    ) -> bool {
        let trouble = self.tasks(stage).task(index).trouble();
        let (failed_on, not_fetched_on) = (&trouble.failed_on, &trouble.could_not_fetch_on);
        if !failed_on.contains(worker) && !not_fetched_on.contains(worker) {
            return false;
        }
        let avoids = self.avoids(stage, workers);
        let suits = |other: WorkerId| !failed_on.contains(other) && !avoids(other);
        if failed_on.contains(worker) {
            return self.could_run(stage, workers).any(suits);
        }
        let mut free = workers.free(stage, Pace::Usual, &self.plan.needs);
        free.any(|(other, _)| suits(other) && !not_fetched_on.contains(other))
    }

    /// The workers that run the job's tasks, or will as soon as they have a free slot.
    fn could_run(&self, stage: StageId, workers: &Workers) -> impl Iterator<Item = WorkerId> {
        let all = workers.all_for(&self.plan.needs);
        all.filter(move |(_, worker)| worker.will_take(stage)).map(|(id, _)| id)
    }
}
