//! Bad workers: whose disk is full or lies, or from whom nobody can fetch.
//!
//! ```text
//!       strikes of two jobs add up            time passes
//!  good ----------------------> quarantined --------------> on probation
//!   ^  ^                             ^                         |     |
//!   |  +------ an attempt succeeds --|-------------------------+     |
//!   |                                +---------- one strike ---------+
//!   +-- an attempt succeeds: strikes are forgotten
//! ```
//!
//! Only failures that speak of the machine count, never those of user code. What a job's process
//! says is user code's word, too, so that strikes of one job are not enough: that job avoids the
//! worker (see `job::blame`), and other jobs go on using it. A quarantine is of a machine and
//! folder, so that a worker that restarts does not escape it. A worker with strikes gets work only
//! when no better one is free. A worker in quarantine gets nothing new, but goes on with what it
//! has, and its outputs count. A worker on probation gets one attempt at a time. Where all workers
//! are in quarantine, the quarantine is lifted: bad workers are better than none.

use windrow_model::{FailureCause, JobId, WorkerId};

use crate::step::Step;
use crate::time::Timer;
use crate::worker::{Health, Standing};

/// How much a failure says against the worker on which it happened.
fn weight(cause: &FailureCause) -> u32 {
    match cause {
        FailureCause::Io { disk_full: true, .. } => 2,
        FailureCause::Io { .. } | FailureCause::Corrupt { .. } => 1,
        _ => 0,
    }
}

/// An attempt of this job failed on this worker.
pub(crate) fn failed(worker: WorkerId, job: JobId, cause: &FailureCause, step: &mut Step<'_>) {
    blame(worker, job, weight(cause), step);
}

/// What this worker holds of this job cannot be read by others.
pub(crate) fn unreadable(worker: WorkerId, job: JobId, step: &mut Step<'_>) {
    blame(worker, job, 1, step);
}

fn blame(worker: WorkerId, job: JobId, strikes: u32, step: &mut Step<'_>) {
    let config = step.config;
    let Some(identity) = step.workers.identity(worker).filter(|_| strikes > 0) else { return };
    let quarantine =
        step.workers.change_health(identity, |health| health.strike(strikes, job, config));
    if let Some(quarantine) = quarantine {
        debug_assert!(
            step.deadlines.get(Timer::Quarantine(identity)).is_none(),
            "who is in quarantine already is not put there again"
        );
        step.deadlines.set(Timer::Quarantine(identity), step.now + quarantine);
    }
}

/// An attempt has succeeded on this worker.
pub(crate) fn succeeded(worker: WorkerId, step: &mut Step<'_>) {
    let Some(identity) = step.workers.identity(worker) else { return };
    if step.workers.has_history(identity) {
        step.deadlines.clear(Timer::Quarantine(identity));
        step.workers.change_health(identity, |health| *health = Health::default());
    }
}

/// A quarantine is over.
pub(crate) fn quarantine_over(identity: u64, step: &mut Step<'_>) {
    step.deadlines.clear(Timer::Quarantine(identity));
    step.workers.change_health(identity, |health| {
        debug_assert_eq!(health.standing, Standing::Quarantined, "only a quarantine ends");
        debug_assert!(health.quarantines > 0, "each is counted: the next one is longer");
        health.standing = Standing::Probation;
    });
}

/// Where nobody else is left, those in quarantine are better than nobody.
pub(crate) fn end_quarantines_if_nobody_is_left(step: &mut Step<'_>) {
    if let Some(all) = step.workers.all_quarantined() {
        for identity in all {
            quarantine_over(identity, step);
        }
    }
}
