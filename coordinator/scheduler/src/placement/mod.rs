//! Which task goes to which worker.
//!
//! As long as a slot is free and a task is queued, three choices are made:
//!
//! 1. *The job*: of the largest priority; among equals one whose reducers hold slots while they
//!    wait for a map that is done again; then one of the submitter for whom the fewest attempts
//!    run, or who was served least recently (see `Submitters`); of that submitter's jobs the one
//!    with the fewest running attempts; among these the one that was served least recently. Two
//!    exceptions go before priority: what frees at least as many slots as it takes, and, once in
//!    eight slots, a job that was given none for long, so that nothing starves.
//! 2. *The worker*: of those with the fewest strikes (see `quarantine`), the one with the smallest
//!    share of its slots taken, so that work spreads before it doubles up.
//! 3. *The task*: of the first few in the queue, the one whose rendezvous hash with this worker is
//!    highest (Thaler and Ravishankar, 1998), but those first that are suspected of killing their
//!    process (see `death`). So a split comes back to the worker that had it before, whose caches
//!    may still hold it, as far as balance allows: no slot stays empty to wait for a better match.
//!
//! A slot is free when nothing runs in it; for a job with quick tasks, as long as few wait for it
//! (see `pace`).
//!
//! Workers that cannot run a job's program are passed over, and those on which it fails (see
//! `avoidance`).

pub(crate) mod backup;
mod suitable;

use std::cmp::Reverse;

use windrow_model::{JobId, StageId, TaskId, WorkerId};

use crate::hash::mix;
use crate::job::{Job, Jobs, Shares};
use crate::step::Step;
use crate::worker::{PACES, Pace, Worker, Workers};

/// How many queued tasks are compared for one slot. A choice costs this much, however long the
/// queue is.
const QUEUE_WINDOW: usize = 64;

/// Of so many slots given, one may go to a job that starves.
const SLOTS_PER_STARVING: u64 = 8;

/// Which job goes first, the smallest of these: by urgency and priority, whether its own reducers
/// wait for what it would do, attempts that run and the slot that was given last, to its submitter
/// and to itself.
type Order = (Urgency, Reverse<i32>, Reverse<bool>, (u32, u64), (u32, u64));

/// Why a job goes before those of a larger priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// At least as many of its reducers hold slots as it has maps to do again, for which they wait:
    /// each slot given to it frees one or more.
    FreesSlots,
    /// It was given nothing for long.
    Starves,
    /// It has its priority, and nothing else.
    Usual,
}

/// Fills free slots until there are none, or nothing fits them. `turn` counts the slots given so
/// far.
pub(crate) fn fill_slots(jobs: &mut Jobs, turn: &mut u64, step: &mut Step<'_>) {
    let mut shares = None;
    while let Some((id, stage)) = next_job(jobs, &mut shares, *turn, step) {
        let Some(job) = jobs.get_mut(id) else { return };
        let Some((index, worker)) = choose(job, stage, step.workers) else {
            debug_assert!(false, "{} could use a slot, and has no task for it", job.id);
            return;
        };
        debug_assert!(
            step.workers.get(worker).is_some_and(|worker| worker.takes(stage, job.pace(stage))),
            "the index of free slots is true"
        );
        *turn += 1;
        debug_assert!(job.turn < *turn, "each slot given has a number of its own");
        debug_assert!(job.served <= step.now, "it was not served in the future");
        job.turn = *turn;
        job.served = step.now;
        job.start(stage, index, worker, step);
        let submitter = job.plan.submitter;
        jobs.serve(submitter, *turn);
        if let Some(shares) = &mut shares {
            shares.add(submitter);
        }
    }
}

/// The job whose turn it is, of those that could use a free slot. O(1) if none is free and no job
/// is quick, else O(jobs). What runs for whom is counted when the first slot is given.
fn next_job(
    jobs: &Jobs,
    shares: &mut Option<Shares>,
    turn: u64,
    step: &Step<'_>,
) -> Option<(JobId, StageId)> {
    let free = PACES.map(|pace| StageId::ALL.map(|stage| step.workers.any_free(stage, pace)));
    if free[Pace::Usual as usize] == [false; 2] && jobs.quick().next().is_none() {
        return None;
    }
    let shares = &*shares.get_or_insert_with(|| jobs.shares());
    let order = |job: &Job, stage| {
        order(job, stage, (shares.running(job.plan.submitter), jobs.turn_of(job)), turn, step)
    };
    let first = StageId::ALL.iter().filter_map(|&stage| {
        let slot_is_free = free[Pace::Usual as usize][stage.index()];
        let candidate = |job: &Job| {
            let workers = &*step.workers;
            let is_free = free[job.pace(stage) as usize][stage.index()];
            let could = is_free && could_place(job, stage, job.pace(stage), workers);
            // Nobody is given more than there are slots while a job that goes first waits for one.
            let waits = !slot_is_free && job.has_workers(workers);
            (could || waits).then(|| (order(job, stage), job.id, could))
        };
        let wanting = jobs.running().filter(|job| job.placeable() == Some(stage));
        let (order, id, could) = wanting.filter_map(candidate).min()?;
        could.then_some((order, id, stage))
    });
    let (_, id, stage) = first.min()?;
    Some((id, stage))
}

fn order(job: &Job, stage: StageId, submitter: (u32, u64), turn: u64, step: &Step<'_>) -> Order {
    let waiting = if stage == StageId::MAP { job.reduce.running } else { 0 };
    let starving_turn = turn % SLOTS_PER_STARVING == SLOTS_PER_STARVING - 1;
    let urgency = if waiting > 0 && waiting as usize >= job.map.queue().len() {
        Urgency::FreesSlots
    } else if starving_turn && step.now.since(job.served) >= step.config.starving_after {
        Urgency::Starves
    } else {
        Urgency::Usual
    };
    (
        urgency,
        Reverse(job.plan.priority),
        Reverse(waiting > 0),
        submitter,
        (job.running(), job.turn),
    )
}

/// Whether a task of this stage is queued that a slot which is free at this pace would suit.
pub(crate) fn could_place(job: &Job, stage: StageId, pace: Pace, workers: &Workers) -> bool {
    fit(job, stage, pace, workers).any(|(id, _)| welcome(job, stage, id, workers).next().is_some())
}

fn choose(job: &Job, stage: StageId, workers: &Workers) -> Option<(u32, WorkerId)> {
    fit(job, stage, job.pace(stage), workers).find_map(|(id, worker)| {
        let welcome = welcome(job, stage, id, workers);
        Some((best_task(job, stage, worker, welcome)?, id))
    })
}

/// The workers with a free slot that the job would use, the best first.
fn fit<'a>(
    job: &'a Job,
    stage: StageId,
    pace: Pace,
    workers: &'a Workers,
) -> impl Iterator<Item = (WorkerId, &'a Worker)> {
    let avoids = job.avoids(stage, workers);
    workers.free(stage, pace, &job.plan.needs).filter(move |&(id, _)| !avoids(id))
}

/// The first queued tasks that may go to this worker.
fn welcome<'a>(
    job: &'a Job,
    stage: StageId,
    id: WorkerId,
    workers: &'a Workers,
) -> impl Iterator<Item = u32> + 'a {
    let queue = job.tasks(stage).queue().iter();
    queue.filter(move |&index| !job.shuns(stage, index, id, workers)).take(QUEUE_WINDOW)
}

/// The one of these tasks that fits the worker best.
fn best_task(
    job: &Job,
    stage: StageId,
    worker: &Worker,
    mut welcome: impl Iterator<Item = u32>,
) -> Option<u32> {
    let tasks = job.tasks(stage);
    match stage {
        StageId::MAP => welcome.max_by_key(|&index| {
            debug_assert!(job.splits.get(index).is_some(), "each map has its split");
            let affinity = job.splits.get(index).map_or(0, |split| split.affinity);
            let fit = rendezvous(affinity, worker.offer.identity);
            (tasks.task(index).trouble().suspect, fit, Reverse(index))
        }),
        // What a reducer reads is spread over all workers.
        _ => welcome.next(),
    }
}

/// The best worker that could run a backup of a task that runs on `slow`: one on which it could not
/// fetch only if there is no other, for the fault may lie with where it fetched from.
pub(crate) fn worker_for_backup(
    job: &Job,
    task: TaskId,
    slow: WorkerId,
    workers: &Workers,
) -> Option<WorkerId> {
    let trouble = job.tasks(task.stage).task(task.index).trouble();
    debug_assert!(workers.get(slow).is_some(), "who is gone runs nothing that could be slow");
    let suits = |id: &WorkerId| *id != slow && !trouble.failed_on.contains(*id);
    let free = || fit(job, task.stage, Pace::Usual, workers).map(|(id, _)| id).filter(suits);
    free().find(|id| !trouble.could_not_fetch_on.contains(*id)).or_else(|| free().next())
}

fn rendezvous(affinity: u64, identity: u64) -> u64 {
    mix(affinity ^ mix(identity))
}
