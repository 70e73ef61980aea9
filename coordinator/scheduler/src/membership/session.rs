//! Sessions: a worker joins, is heard of, breaks off, and returns with what it has kept.
//!
//! ```text
//!              WorkerJoined                WorkerDisconnected, TookOver
//!  (unknown) ----------------> in session -----------------------------> away
//!      ^                        |     ^                                   | |
//!      |   WorkerLeft, silence  |     +---------- WorkerReturned ---------+ |
//!      +------------------------+----------------- lease ends --------------+
//! ```
//!
//! A worker that is away keeps its work, and gets nothing new. When it returns, what it has is
//! compared with what it should have: assignments that did not reach it are told again, attempts
//! that are not wanted are cancelled, and outputs that it does not have any more are lost.

use std::collections::BTreeSet;

use windrow_model::{JobId, WorkerId};

use crate::effect::Effect;
use crate::event::{Inventory, RequestId, WorkerOffer};
use crate::job::Jobs;
use crate::time::Timer;
use crate::transition::Transition;

/// Takes a worker in that has nothing.
pub(crate) fn join(request: RequestId, offer: WorkerOffer, transition: &mut Transition<'_>) {
    let worker = transition.workers.admit(offer, request, transition.now);
    grant_lease(worker, transition);
    transition.effects.push(Effect::Admitted { request, worker });
}

/// Notes that a worker was heard of. False when it has no session. What arrives after its
/// connection broke was on its way before, and tells nothing of the worker now.
pub(crate) fn renew_lease(worker: WorkerId, transition: &mut Transition<'_>) -> bool {
    let has_session = transition.workers.hear(worker, transition.now);
    if transition.workers.get(worker).is_some_and(|worker| !worker.is_away()) {
        grant_lease(worker, transition);
    }
    debug_assert!(
        !has_session || transition.deadlines.get(Timer::Lease(worker)).is_some(),
        "a session without a lease would never end by silence"
    );
    has_session
}

/// The worker need not be heard of for a whole lease.
pub(crate) fn grant_lease(worker: WorkerId, transition: &mut Transition<'_>) {
    debug_assert!(transition.workers.get(worker).is_some(), "only a session has a lease");
    let ends = transition.now + transition.config.lease;
    transition.workers.set_lease(worker, ends);
    transition.deadlines.set(Timer::Lease(worker), ends);
}

/// A worker's connection broke. It gets nothing new until it is back, and little time for that:
/// most that break off have died, and their work waits. But where most are away, it is not they who
/// are at fault: a switch is, or a proxy that is reloaded, and all come back. So these have their
/// whole leases, as when a coordinator takes over.
pub(crate) fn disconnect(worker: WorkerId, connection: RequestId, transition: &mut Transition<'_>) {
    let Some(there) = transition.workers.get(worker) else { return };
    if there.connection != Some(connection) {
        // It is back already, or the connection was another coordinator's.
        return;
    }
    let lease_ends = there.lease_ends;
    transition.workers.set_connection(worker, None);
    if !transition.workers.most_are_away() {
        let patience_ends = transition.now + transition.config.reconnect;
        transition.workers.hurry(worker);
        transition.deadlines.set(Timer::Lease(worker), lease_ends.min(patience_ends));
    } else {
        for (away, ends) in transition.workers.hurry_nobody() {
            transition.deadlines.set(Timer::Lease(away), ends);
        }
    }
    debug_assert!(
        transition.deadlines.get(Timer::Lease(worker)).is_some_and(|at| at <= lease_ends),
        "it is not waited for for ever: a broken connection gives nobody time"
    );
}

/// A worker is back, if its session still stands.
pub(crate) fn resume(
    jobs: &mut Jobs,
    request: RequestId,
    worker: WorkerId,
    inventory: &Inventory,
    transition: &mut Transition<'_>,
) {
    transition.workers.set_connection(worker, Some(request));
    if !renew_lease(worker, transition) {
        return transition.effects.push(Effect::TooLate { request });
    }
    debug_assert!(
        transition.deadlines.get(Timer::Lease(worker)).is_some_and(|ends| ends > transition.now),
        "one that is back has a lease"
    );
    transition.workers.has_not_gone(worker);
    transition.effects.push(Effect::Admitted { request, worker });
    cancel_unwanted(jobs, worker, inventory, transition);
    jobs.try_each(transition, |job, transition| job.compare(worker, inventory, transition));
}

/// Attempts that should not run there are cancelled; what is left of jobs that are over can go.
fn cancel_unwanted(
    jobs: &mut Jobs,
    worker: WorkerId,
    inventory: &Inventory,
    transition: &mut Transition<'_>,
) {
    let mut over = BTreeSet::<JobId>::new();
    for &attempt in inventory.running.union(&inventory.outputs) {
        // Reports that are still to be told decide about these.
        if inventory.unanswered.contains(&attempt) {
            continue;
        }
        match jobs.get_mut(attempt.task.job).map(|job| job.wins(attempt, worker)) {
            Some(true) => {}
            Some(false) => transition.effects.push(Effect::CancelAttempt { worker, attempt }),
            None => drop(over.insert(attempt.task.job)),
        }
    }
    transition.effects.extend(over.into_iter().map(|job| Effect::Release { worker, job }));
}
