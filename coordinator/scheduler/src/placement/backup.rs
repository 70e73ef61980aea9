//! Backup tasks (speculative execution): a straggler gets a second attempt on another worker, and
//! the first of the two to succeed wins.
//!
//! Stragglers are found as in LATE (Zaharia et al., OSDI 2008): by rate and remaining time, not by
//! progress. A backup is started only if
//!
//! - the attempt has run for some seconds at less than a third of the usual rate of its stage, and
//!   its remaining work takes longer at that rate than a whole task at the usual one; or it has
//!   shown no sign of life for longer than a task usually takes, as when its process hangs,
//! - no queued task could use the slot, and few backups run already.
//!
//! Rates come from heartbeats, which are not journaled. So the search changes no state: its result
//! becomes a journaled event, [`Event::BackUp`](crate::Event).

use std::time::Duration;

use windrow_model::{AttemptId, StageId, TaskId, WorkerId};

use super::{could_place, worker_for_backup};
use crate::config::Config;
use crate::job::stage::{Running, TaskState, Tasks, Totals};
use crate::job::{Job, Jobs};
use crate::time::Time;
use crate::transition::Transition;
use crate::worker::{SlotDepth, Workers};

/// An attempt at less than 1/`SLOW_PART` of the usual rate is slow.
const SLOW_PART: f64 = 3.0;
/// One backup per this many running attempts, and at least one.
const ATTEMPTS_PER_BACKUP: u32 = 10;

/// Attempts that need a backup now. O(running attempts) if a slot is free and no queued task can
/// use it.
pub(crate) fn slow_attempts(
    jobs: &Jobs,
    workers: &Workers,
    config: &Config,
    now: Time,
) -> Vec<AttemptId> {
    let mut slow = Vec::new();
    for job in jobs.running().filter(|job| job.phase().is_running()) {
        for stage in job.stages().ids() {
            // One at a time: the next search is soon, and takes this backup into account. Queued
            // tasks may avoid the free workers while they wait for one that hangs.
            let may = workers.any_free(stage, SlotDepth::One)
                && !could_place(job, stage, SlotDepth::One, workers);
            slow.extend(may.then(|| slowest(job, stage, config, now)).flatten());
        }
    }
    slow
}

/// Starts a backup of a running attempt, unless it is not needed any more or no other worker is
/// free.
pub(crate) fn begin(jobs: &mut Jobs, attempt: AttemptId, transition: &mut Transition<'_>) {
    let Some(job) = jobs.get_mut(attempt.task.job) else { return };
    let Some(worker) = runs_alone_on(job, attempt) else { return };
    let Some(other) = worker_for_backup(job, attempt.task, worker, transition.workers) else {
        return;
    };
    debug_assert_ne!(other, worker, "a backup runs on another worker");
    job.back_up(attempt.task, other, transition);
}

/// The worker of an attempt that has no backup and could use one.
fn runs_alone_on(job: &Job, attempt: AttemptId) -> Option<WorkerId> {
    let TaskId { stage, index, .. } = attempt.task;
    // What a backup reads must be complete.
    if !job.phase().is_running() || !job.stages().are_inputs_ready(stage) {
        return None;
    }
    match job.stage(stage).tasks().get(index)?.state() {
        TaskState::Running(race)
            if race.backup.is_none() && race.first.number == attempt.number =>
        {
            Some(race.first.worker)
        }
        _ => None,
    }
}

/// The slow attempt of a stage with the longest remaining time.
fn slowest(job: &Job, stage: StageId, config: &Config, now: Time) -> Option<AttemptId> {
    let stage = job.stage(stage);
    let (tasks, counts) = (stage.tasks(), stage.tasks().counts());
    debug_assert!(
        counts.backups_running <= counts.running / 2,
        "a backup runs beside its original"
    );
    if counts.backups_running >= (counts.running / ATTEMPTS_PER_BACKUP).max(1) {
        return None;
    }
    let backup_after = config.backup_after?;
    let usual = Usual::of(tasks, now)?;
    let remaining = |(attempt, running): (AttemptId, &Running)| {
        let age = now.since(running.since);
        if age < backup_after || runs_alone_on(job, attempt).is_none() {
            return None;
        }
        if now.since(running.moved) > backup_after.max(usual.time()) {
            // It may hang: then it never ends, however close to its end it is.
            return Some((f64::INFINITY, attempt));
        }
        let done = work(running, tasks);
        let rate = done / age.as_secs_f64();
        let split = stage.split(attempt.task.index);
        let size = split.map_or(usual.work, |split| split.bytes as f64);
        let remaining = (size - done).max(0.0) / rate.max(f64::MIN_POSITIVE);
        let slow = rate * SLOW_PART < usual.rate && remaining > size / usual.rate;
        slow.then_some((remaining, attempt))
    };
    let slow = tasks.running_attempts().filter_map(remaining);
    slow.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, attempt)| attempt)
}

/// The usual speed and size of a stage's tasks.
struct Usual {
    /// Work per second.
    rate: f64,
    /// Work of one task.
    work: f64,
}

impl Usual {
    /// The usual time of one task.
    fn time(&self) -> Duration {
        debug_assert!(self.rate > 0.0, "the rate is positive");
        Duration::try_from_secs_f64(self.work / self.rate).unwrap_or(Duration::MAX)
    }

    /// Computed from the tasks that are done; until there is one, from the fastest running attempt.
    /// `None` if there is neither.
    fn of(tasks: &Tasks, now: Time) -> Option<Self> {
        let &Totals { work_done, elapsed_us, .. } = tasks.totals();
        if work_done > 0 && elapsed_us > 0 {
            debug_assert!(tasks.counts().done > 0, "work was done by winners");
            return Some(Self {
                rate: work_done as f64 / Duration::from_micros(elapsed_us).as_secs_f64(),
                work: work_done as f64 / f64::from(tasks.counts().done),
            });
        }
        let rate = |(_, running): (AttemptId, &Running)| {
            work(running, tasks) / now.since(running.since).as_secs_f64().max(0.1)
        };
        let fastest = tasks.running_attempts().map(rate).max_by(f64::total_cmp)?;
        let most = tasks.running_attempts().map(|(_, running)| work(running, tasks));
        let work = most.max_by(f64::total_cmp)?;
        (fastest > 0.0).then_some(Self { rate: fastest, work })
    }
}

/// The work that a running attempt has done so far.
fn work(running: &Running, tasks: &Tasks) -> f64 {
    tasks.totals().unit().of(running.bytes, running.records) as f64
}
