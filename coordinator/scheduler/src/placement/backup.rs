//! Backup tasks: a task whose attempt is much slower than its like is tried a second time
//! elsewhere, and the first of the two to succeed wins.
//!
//! Which one is slow is judged as in LATE (Zaharia et al., OSDI 2008): by rate and by the time that
//! remains, not by how far it has come. A backup is started only if
//!
//! - the attempt runs for some seconds, at less than a third of the usual rate of its stage, and
//!   what remains takes longer at its rate than the whole task at the usual one; or it has shown no
//!   sign of life for longer than a whole task usually takes, as where its process hangs,
//! - nothing is queued that could use the slot, and few backups run already.
//!
//! Rates come from heartbeats, which are not journaled. So looking is no transition: what is found
//! becomes an event, [`Event::BackUp`](crate::Event), which is.

use std::time::Duration;

use windrow_model::{AttemptId, StageId, WorkerId};

use super::{could_place, worker_for_backup};
use crate::config::Config;
use crate::job::stage::{Running, TaskState, Tasks, Totals};
use crate::job::{Job, Jobs, Phase};
use crate::step::Step;
use crate::time::Time;
use crate::worker::{Pace, Workers};

/// An attempt at less than one such part of the usual rate is slow.
const SLOW_PART: f64 = 3.0;
/// One backup for so many running attempts, and at least one.
const ATTEMPTS_PER_BACKUP: u32 = 10;

/// Attempts that should be backed up now. O(attempts that run), where a slot is free and nothing is
/// queued for it.
pub(crate) fn slow_attempts(
    jobs: &Jobs,
    workers: &Workers,
    config: &Config,
    now: Time,
) -> Vec<AttemptId> {
    let mut slow = Vec::new();
    for job in jobs.running().filter(|job| job.phase == Phase::Running) {
        for stage in StageId::ALL {
            // One at a time: the next look is soon, and sees what this one has changed.
            // What is queued may shun those that are free, for the sake of one that hangs.
            let may = workers.any_free(stage, Pace::Usual)
                && !could_place(job, stage, Pace::Usual, workers);
            slow.extend(may.then(|| slowest(job, stage, config, now)).flatten());
        }
    }
    slow
}

/// Starts a backup of a running attempt, unless things have changed or no other worker is free.
pub(crate) fn begin(jobs: &mut Jobs, attempt: AttemptId, step: &mut Step<'_>) {
    let Some(job) = jobs.get_mut(attempt.task.job) else { return };
    let Some(worker) = job.runs_alone_on(attempt) else { return };
    let Some(other) = worker_for_backup(job, attempt.task, worker, step.workers) else {
        return;
    };
    debug_assert_ne!(other, worker, "a backup on the same machine is none");
    let tasks = job.tasks_mut(attempt.task.stage);
    let backup = tasks.back_up(attempt.task.index, other, step.now);
    job.begin(backup, other, step);
}

impl Job {
    /// Who runs the attempt, if it runs without a backup and one would help.
    fn runs_alone_on(&self, attempt: AttemptId) -> Option<WorkerId> {
        let stage = attempt.task.stage;
        // A reducer could not be told what to read.
        if self.phase != Phase::Running || stage == StageId::REDUCE && !self.map.all_done() {
            return None;
        }
        match &self.tasks(stage).get(attempt.task.index)?.state {
            TaskState::Running(race)
                if race.backup.is_none() && race.first.number == attempt.number =>
            {
                Some(race.first.worker)
            }
            _ => None,
        }
    }
}

/// The attempt of a stage that will take longest, if it is slow.
fn slowest(job: &Job, stage: StageId, config: &Config, now: Time) -> Option<AttemptId> {
    let tasks = job.tasks(stage);
    debug_assert!(tasks.backups_running <= tasks.running / 2, "a backup runs beside its original");
    if tasks.backups_running >= (tasks.running / ATTEMPTS_PER_BACKUP).max(1) {
        return None;
    }
    let backup_after = config.backup_after?;
    let usual = Usual::of(tasks, stage, now)?;
    let remaining = |(attempt, running): (AttemptId, &Running)| {
        let age = now.since(running.since);
        if age < backup_after || job.runs_alone_on(attempt).is_none() {
            return None;
        }
        if now.since(running.moved) > backup_after.max(usual.time()) {
            // It may hang, and then it never ends, however near to its end it is.
            return Some((f64::INFINITY, attempt));
        }
        let rate = work(running, stage) / age.as_secs_f64();
        let size = match stage {
            StageId::MAP => job.splits.get(attempt.task.index)?.bytes as f64,
            _ => usual.work,
        };
        let remaining = (size - work(running, stage)).max(0.0) / rate.max(f64::MIN_POSITIVE);
        let slow = rate * SLOW_PART < usual.rate && remaining > size / usual.rate;
        slow.then_some((remaining, attempt))
    };
    let slow = tasks.running_attempts().filter_map(remaining);
    slow.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, attempt)| attempt)
}

/// What is usual in a stage.
struct Usual {
    /// Work per second: bytes for maps, records for reduces.
    rate: f64,
    /// Of one task.
    work: f64,
}

impl Usual {
    /// Of one task.
    fn time(&self) -> Duration {
        debug_assert!(self.rate > 0.0, "nothing would ever end");
        Duration::try_from_secs_f64(self.work / self.rate).unwrap_or(Duration::MAX)
    }

    /// By the tasks that are done; while there is none, by the fastest that runs. `None` when
    /// nothing is known.
    fn of(tasks: &Tasks, stage: StageId, now: Time) -> Option<Self> {
        let Totals { work_done, elapsed_us, .. } = tasks.totals;
        if work_done > 0 && elapsed_us > 0 {
            debug_assert!(tasks.done > 0, "winners have done it");
            return Some(Self {
                rate: work_done as f64 / Duration::from_micros(elapsed_us).as_secs_f64(),
                work: work_done as f64 / f64::from(tasks.done),
            });
        }
        let rate = |(_, running): (AttemptId, &Running)| {
            work(running, stage) / now.since(running.since).as_secs_f64().max(0.1)
        };
        let fastest = tasks.running_attempts().map(rate).max_by(f64::total_cmp)?;
        let most = tasks.running_attempts().map(|(_, running)| work(running, stage));
        let work = most.max_by(f64::total_cmp)?;
        (fastest > 0.0).then_some(Self { rate: fastest, work })
    }
}

/// What a running attempt has done so far.
fn work(running: &Running, stage: StageId) -> f64 {
    match stage {
        StageId::MAP => running.bytes as f64,
        _ => running.records as f64,
    }
}
