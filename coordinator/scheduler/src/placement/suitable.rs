//! Which workers a job or a task avoids, as long as there are others.

use windrow_model::{StageId, WorkerId};

use crate::job::Job;
use crate::worker::{SlotDepth, Workers};

/// The workers that get no task of a stage, because others could run it. O(1) if the job avoids
/// none.
pub(super) fn avoids<'a>(
    job: &'a Job,
    stage: StageId,
    workers: &'a Workers,
) -> impl Fn(WorkerId) -> bool + Copy + 'a {
    let avoided = job.avoided();
    let others = !avoided.is_empty()
        && could_run(job, stage, workers).any(|worker| !avoided.contains(&worker));
    move |worker| others && avoided.contains(&worker)
}

/// Whether a task waits for another worker rather than go to this one. It does not wait for a busy
/// worker if it only could not fetch here: the fault may lie with the holder, and other workers may
/// be busy for long.
pub(super) fn shuns(
    job: &Job,
    stage: StageId,
    index: u32,
    worker: WorkerId,
    workers: &Workers,
) -> bool {
    let charges = job.stage(stage).tasks().task(index).charges();
    let has_failed_here = charges.has_failed_on(worker);
    if !has_failed_here && !charges.could_not_fetch_on(worker) {
        return false;
    }
    let avoids = avoids(job, stage, workers);
    let suits = |other: WorkerId| !charges.has_failed_on(other) && !avoids(other);
    if has_failed_here {
        return could_run(job, stage, workers).any(suits);
    }
    let mut free = workers.free(stage, SlotDepth::One, &job.plan().needs);
    free.any(|(other, _)| suits(other) && !charges.could_not_fetch_on(other))
}

/// The workers that can run tasks of the stage, now or once they have a free slot.
fn could_run(job: &Job, stage: StageId, workers: &Workers) -> impl Iterator<Item = WorkerId> {
    let all = workers.all_for(&job.plan().needs);
    all.filter(move |(_, worker)| worker.will_take(stage)).map(|(id, _)| id)
}
