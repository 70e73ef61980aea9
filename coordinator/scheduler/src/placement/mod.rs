//! Placement: which task goes to which worker.
//!
//! While a slot is free and a task is queued, three choices are made:
//!
//! 1. *The job*: of the highest priority; among equals, a job whose reducers hold slots while they
//!    wait for a map that runs again; then a job of the submitter with the fewest running attempts,
//!    or the one served least recently (see `Submitters`); of that submitter's jobs, the one with
//!    the fewest running attempts; among these, the one served least recently. Two exceptions
//!    precede priority: a job that frees at least as many slots as it takes, and, once in eight
//!    slots, a job that was given none for long, so that none starves.
//! 2. *The worker*: of those with the fewest strikes (see `quarantine`), the one with the smallest
//!    share of its slots taken, so that work spreads evenly.
//! 3. *The task*: suspects first (see `death`); of the first few in the queue, the task with the
//!    highest rendezvous hash with this worker (Thaler and Ravishankar, 1998). So a split returns
//!    to the worker that read it before, whose caches may still hold it, as far as balance allows:
//!    no slot stays empty to wait for a better match.
//!
//! A slot is free when nothing runs in it; for a job with quick tasks, as long as few wait for it
//! (see `slot_depth`).
//!
//! Workers that cannot run a job's program are skipped, and so are those on which it fails (see
//! `suitable`).

pub(crate) mod backup;
mod suitable;

use std::cmp::Reverse;

use windrow_model::{JobId, StageId, TaskId, WorkerId};

use self::suitable::{avoids, shuns};
use crate::hash::mix;
use crate::job::{Job, Jobs, Shares};
use crate::transition::Transition;
use crate::worker::{SLOT_DEPTHS, SlotDepth, Worker, Workers};

/// How many queued tasks are compared for one slot, which bounds the cost of a choice.
const QUEUE_WINDOW: usize = 64;

/// One in so many slots may go to a job that starves.
const SLOTS_PER_STARVING: u64 = 8;

/// The order of jobs, the smallest first: by urgency, by priority, by whether its reducers wait for
/// its maps, and by running attempts and latest slot of its submitter and of itself.
type Order = (Urgency, Reverse<i32>, Reverse<bool>, (u32, u64), (u32, u64));

/// Why a job precedes jobs of a higher priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// At least as many of its reducers hold slots as it has maps to run again: each slot given to
    /// it frees one or more.
    FreesSlots,
    /// It was given no slot for long.
    Starves,
    /// It has only its priority.
    Usual,
}

/// Fills free slots until none is left that a task fits. `turn` counts the slots given so far.
pub(crate) fn fill_slots(jobs: &mut Jobs, turn: &mut u64, transition: &mut Transition<'_>) {
    let mut shares = None;
    while let Some((id, stage)) = next_job(jobs, &mut shares, *turn, transition) {
        let Some(job) = jobs.get_mut(id) else { return };
        let Some((index, worker)) = choose(job, stage, transition.workers) else {
            debug_assert!(false, "{} was chosen for a slot, but has no task for it", job.id());
            return;
        };
        debug_assert!(
            transition
                .workers
                .get(worker)
                .is_some_and(|worker| worker.takes(stage, job.stage(stage).slot_depth())),
            "the index of free slots is correct"
        );
        *turn += 1;
        job.serve(*turn, transition.now);
        job.start(stage, index, worker, transition);
        let submitter = job.plan().submitter;
        jobs.serve(submitter, *turn);
        if let Some(shares) = &mut shares {
            shares.add(submitter);
        }
    }
}

/// The next job of those that could use a free slot. O(1) if none is free and no job is quick, else
/// O(jobs). `shares` is counted when the first slot is given.
fn next_job(
    jobs: &Jobs,
    shares: &mut Option<Shares>,
    turn: u64,
    transition: &Transition<'_>,
) -> Option<(JobId, StageId)> {
    let free = SLOT_DEPTHS
        .map(|depth| StageId::ALL.map(|stage| transition.workers.any_free(stage, depth)));
    if free[SlotDepth::One as usize] == [false; 2] && jobs.quick().next().is_none() {
        return None;
    }
    let shares = &*shares.get_or_insert_with(|| jobs.shares());
    let order = |job: &Job, stage| {
        let submitter = (shares.running(job.plan().submitter), jobs.turn_of(job));
        order(job, stage, submitter, turn, transition)
    };
    let first = StageId::ALL.iter().filter_map(|&stage| {
        let slot_is_free = free[SlotDepth::One as usize][stage.index()];
        let candidate = |job: &Job| {
            let workers = &*transition.workers;
            let depth = job.stage(stage).slot_depth();
            let is_free = free[depth as usize][stage.index()];
            let could = is_free && could_place(job, stage, depth, workers);
            // No job is given more than one task per slot while a job that precedes it waits for a
            // slot.
            let waits = !slot_is_free && job.has_workers(workers);
            (could || waits).then(|| (order(job, stage), job.id(), could))
        };
        let wanting = jobs.running().filter(|job| job.placeable() == Some(stage));
        let (order, id, could) = wanting.filter_map(candidate).min()?;
        could.then_some((order, id, stage))
    });
    let (_, id, stage) = first.min()?;
    Some((id, stage))
}

fn order(
    job: &Job,
    stage: StageId,
    submitter: (u32, u64),
    turn: u64,
    transition: &Transition<'_>,
) -> Order {
    // These hold slots until all that they read is there.
    let readers = job.stages().consumer_of(stage);
    let waiting = readers.map_or(0, |readers| readers.tasks().counts().running);
    let starving_turn = turn % SLOTS_PER_STARVING == SLOTS_PER_STARVING - 1;
    let urgency = if waiting > 0 && waiting as usize >= job.stage(stage).tasks().queue().len() {
        Urgency::FreesSlots
    } else if starving_turn
        && transition.now.since(job.served().at()) >= transition.config.starving_after
    {
        Urgency::Starves
    } else {
        Urgency::Usual
    };
    (
        urgency,
        Reverse(job.plan().priority),
        Reverse(waiting > 0),
        submitter,
        (job.running(), job.served().turn()),
    )
}

/// Whether a queued task of this stage suits a slot that is free at this depth.
pub(crate) fn could_place(job: &Job, stage: StageId, depth: SlotDepth, workers: &Workers) -> bool {
    fit(job, stage, depth, workers).any(|(id, _)| welcome(job, stage, id, workers).next().is_some())
}

fn choose(job: &Job, stage: StageId, workers: &Workers) -> Option<(u32, WorkerId)> {
    fit(job, stage, job.stage(stage).slot_depth(), workers).find_map(|(id, worker)| {
        let welcome = welcome(job, stage, id, workers);
        Some((best_task(job, stage, worker, welcome)?, id))
    })
}

/// The workers with a free slot that the job may use, the best first.
fn fit<'a>(
    job: &'a Job,
    stage: StageId,
    depth: SlotDepth,
    workers: &'a Workers,
) -> impl Iterator<Item = (WorkerId, &'a Worker)> {
    let avoids = avoids(job, stage, workers);
    workers.free(stage, depth, &job.plan().needs).filter(move |&(id, _)| !avoids(id))
}

/// The first queued tasks that may go to this worker.
fn welcome<'a>(
    job: &'a Job,
    stage: StageId,
    id: WorkerId,
    workers: &'a Workers,
) -> impl Iterator<Item = u32> + 'a {
    let queue = job.stage(stage).tasks().queue().iter();
    queue.filter(move |&index| !shuns(job, stage, index, id, workers)).take(QUEUE_WINDOW)
}

/// The task with the highest affinity to the worker.
fn best_task(
    job: &Job,
    stage: StageId,
    worker: &Worker,
    mut welcome: impl Iterator<Item = u32>,
) -> Option<u32> {
    let stage = job.stage(stage);
    if stage.waits_for().is_some() {
        // Its input is spread over all workers.
        return welcome.next();
    }
    welcome.max_by_key(|&index| {
        let affinity = stage.split(index).map_or(0, |split| split.affinity);
        let fit = rendezvous(affinity, worker.offer.identity);
        (stage.tasks().task(index).charges().is_suspect(), fit, Reverse(index))
    })
}

/// The best worker for a backup of a task that runs on `slow`. A worker on which the task could not
/// fetch comes last, since the fault may lie with the holder.
pub(crate) fn worker_for_backup(
    job: &Job,
    task: TaskId,
    slow: WorkerId,
    workers: &Workers,
) -> Option<WorkerId> {
    let charges = job.stage(task.stage).tasks().task(task.index).charges();
    debug_assert!(workers.get(slow).is_some(), "the slow attempt's worker has a session");
    let suits = |id: &WorkerId| *id != slow && !charges.has_failed_on(*id);
    let free = || fit(job, task.stage, SlotDepth::One, workers).map(|(id, _)| id).filter(suits);
    free().find(|id| !charges.could_not_fetch_on(*id)).or_else(|| free().next())
}

fn rendezvous(affinity: u64, identity: u64) -> u64 {
    mix(affinity ^ mix(identity))
}
