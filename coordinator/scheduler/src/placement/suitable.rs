//! Which workers a job or a task avoids, as long as there are others.

use windrow_model::{StageId, WorkerId};

use crate::job::Job;
use crate::worker::{SlotDepth, Workers};

impl Job {
    /// The workers that get no task of a stage, because others could run it. O(1) if the job avoids
    /// none.
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

    /// Whether a task waits for another worker rather than go to this one. It does not wait for a
    /// busy worker if it only could not fetch here: the fault may lie with the holder, and other
    /// workers may be busy for long.
    pub(crate) fn shuns(
        &self,
        stage: StageId,
        index: u32,
        worker: WorkerId,
        workers: &Workers,
    ) -> bool {
        let charges = self.tasks(stage).task(index).charges();
        let (failed_on, not_fetched_on) = (&charges.failed_on, &charges.could_not_fetch_on);
        if !failed_on.contains(worker) && !not_fetched_on.contains(worker) {
            return false;
        }
        let avoids = self.avoids(stage, workers);
        let suits = |other: WorkerId| !failed_on.contains(other) && !avoids(other);
        if failed_on.contains(worker) {
            return self.could_run(stage, workers).any(suits);
        }
        let mut free = workers.free(stage, SlotDepth::One, &self.plan.needs);
        free.any(|(other, _)| suits(other) && !not_fetched_on.contains(other))
    }

    /// The workers that can run tasks of the stage, now or once they have a free slot.
    fn could_run(&self, stage: StageId, workers: &Workers) -> impl Iterator<Item = WorkerId> {
        let all = workers.all_for(&self.plan.needs);
        all.filter(move |(_, worker)| worker.will_take(stage)).map(|(id, _)| id)
    }
}
