//! Bad machines: a worker with a full or faulty disk, or one whose outputs cannot be fetched.
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
//! Only failures that point to the machine count, never those of user code. A job's process can
//! report any failure it likes, so strikes of one job are not enough: that job avoids the worker
//! (see `job::blame`), and other jobs go on using it. A quarantine is of an identity (machine and
//! folder), so that a restart does not end it. A worker with strikes gets work only when no better
//! worker is free. A worker in quarantine gets no new task, but finishes what it runs, and its
//! outputs count. A worker on probation gets one attempt at a time. When all workers are in
//! quarantine, the quarantine is lifted: bad workers are better than none.
//!
//! In simulation, 6 to 8 times as many attempts are wasted on a bad disk without quarantine, and 20
//! to 26 times as many without a job's avoidance either (docs/decisions/scheduling.md).

use windrow_model::{FailureCause, JobId, WorkerId};

use crate::time::Timer;
use crate::transition::Transition;
use crate::worker::{Health, Standing};

/// How many strikes a failure counts against the worker on which it happened.
fn weight(cause: &FailureCause) -> u32 {
    match cause {
        FailureCause::Io { disk_full: true, .. } => 2,
        FailureCause::Io { .. } | FailureCause::Corrupt { .. } => 1,
        _ => 0,
    }
}

/// An attempt of this job failed on this worker.
pub(crate) fn failed(
    worker: WorkerId,
    job: JobId,
    cause: &FailureCause,
    transition: &mut Transition<'_>,
) {
    blame(worker, job, weight(cause), transition);
}

/// Other workers cannot read this worker's outputs of this job.
pub(crate) fn unreadable(worker: WorkerId, job: JobId, transition: &mut Transition<'_>) {
    blame(worker, job, 1, transition);
}

fn blame(worker: WorkerId, job: JobId, strikes: u32, transition: &mut Transition<'_>) {
    let config = transition.config;
    let Some(identity) = transition.workers.identity(worker).filter(|_| strikes > 0) else {
        return;
    };
    let quarantine =
        transition.workers.change_health(identity, |health| health.strike(strikes, job, config));
    if let Some(quarantine) = quarantine {
        debug_assert!(
            transition.deadlines.get(Timer::Quarantine(identity)).is_none(),
            "a worker in quarantine gets no second one"
        );
        transition.deadlines.set(Timer::Quarantine(identity), transition.now + quarantine);
    }
}

/// An attempt has succeeded on this worker.
pub(crate) fn succeeded(worker: WorkerId, transition: &mut Transition<'_>) {
    let Some(identity) = transition.workers.identity(worker) else { return };
    if transition.workers.has_history(identity) {
        transition.deadlines.clear(Timer::Quarantine(identity));
        transition.workers.change_health(identity, |health| *health = Health::default());
    }
}

/// A quarantine is over.
pub(crate) fn quarantine_over(identity: u64, transition: &mut Transition<'_>) {
    transition.deadlines.clear(Timer::Quarantine(identity));
    transition.workers.change_health(identity, |health| {
        debug_assert_eq!(
            health.standing,
            Standing::Quarantined,
            "only a worker in quarantine leaves it"
        );
        debug_assert!(
            health.quarantines > 0,
            "each quarantine is counted, since the next one is longer"
        );
        health.standing = Standing::Probation;
    });
}

/// Lifts all quarantines when every worker that stays is in one.
pub(crate) fn lift_quarantines_if_all(transition: &mut Transition<'_>) {
    if let Some(all) = transition.workers.all_quarantined() {
        for identity in all {
            quarantine_over(identity, transition);
        }
    }
}
