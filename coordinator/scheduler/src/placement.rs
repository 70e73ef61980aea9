//! Which task goes to which worker.
//!
//! As long as a slot is free and a task is queued, three choices are made:
//!
//! 1. *The job*: of the largest priority; among equals the one with the fewest running attempts; among these the
//!    one that was served least recently.
//! 2. *The worker*: of those with the fewest strikes (see `health`), the one with the fewest running attempts, so that
//!    work spreads before it doubles up.
//! 3. *The task*: of the first few in the queue, the one whose rendezvous hash with this worker is highest (Thaler
//!    and Ravishankar, 1998), but those first that are suspected of killing their process (see `death`). So a split comes back to the worker that had it before, whose caches may still hold
//!    it, as far as balance allows: no slot stays empty to wait for a better match.
//!
//! A task that has just failed goes elsewhere, if a slot is free there.

use std::cmp::Reverse;

use windrow_jobs::{Stage, WorkerId};

use crate::hash::mix;
use crate::job::Job;
use crate::jobs::Jobs;
use crate::step::Step;
use crate::worker::{Worker, Workers};

/// How many queued tasks are compared for one slot. A choice costs this much, however long the queue is.
const QUEUE_WINDOW: usize = 64;

/// Fills free slots until there are none, or nothing fits them. `turn` counts the slots given so far.
pub(crate) fn fill_slots(jobs: &mut Jobs, turn: &mut u64, step: &mut Step<'_>) {
    while let Some((job, stage)) = next_job(jobs, step.workers) {
        let Some((index, worker)) = choose(job, stage, step.workers) else { return };
        *turn += 1;
        job.turn = *turn;
        job.start(stage, index, worker, step);
    }
}

/// The job whose turn it is, of those that could use a free slot. O(jobs).
fn next_job<'a>(jobs: &'a mut Jobs, workers: &Workers) -> Option<(&'a mut Job, Stage)> {
    let could_use_a_slot = |job: &'a mut Job| {
        let stage = job.placeable().filter(|&stage| workers.any_free(stage))?;
        Some((job, stage))
    };
    jobs.running_mut()
        .filter_map(could_use_a_slot)
        .min_by_key(|(job, _)| (Reverse(job.plan.priority), job.running(), job.turn))
}

fn choose(job: &Job, stage: Stage, workers: &Workers) -> Option<(u32, WorkerId)> {
    // A task avoids at most one worker, so none avoids both of two.
    let welcome = workers
        .free(stage)
        .take(2)
        .find_map(|(id, worker)| Some((best_task(job, stage, worker, Some(id))?, id)));
    welcome.or_else(|| {
        let (id, worker) = workers.free(stage).next()?;
        Some((best_task(job, stage, worker, None)?, id))
    })
}

/// The task of the queue's head that fits the worker best; tasks that avoid `avoided` are left out.
fn best_task(job: &Job, stage: Stage, worker: &Worker, avoided: Option<WorkerId>) -> Option<u32> {
    let tasks = job.tasks(stage);
    let mut welcome = tasks
        .queue()
        .iter()
        .take(QUEUE_WINDOW)
        .filter(|&index| avoided.is_none() || tasks.task(index).avoid != avoided);
    match stage {
        Stage::Map => welcome.max_by_key(|&index| {
            let affinity = job.plan.splits.get(index as usize).map_or(0, |split| split.affinity);
            let fit = rendezvous(affinity, worker.offer.identity);
            (tasks.task(index).suspect, fit, Reverse(index))
        }),
        // What a reducer reads is spread over all workers.
        Stage::Reduce => welcome.next(),
    }
}

/// The best worker that could run a backup of what runs on `slow`.
pub(crate) fn worker_for_backup(
    stage: Stage,
    slow: WorkerId,
    workers: &Workers,
) -> Option<WorkerId> {
    workers.free(stage).map(|(id, _)| id).find(|&id| id != slow)
}

fn rendezvous(affinity: u64, identity: u64) -> u64 {
    mix(affinity ^ mix(identity))
}
