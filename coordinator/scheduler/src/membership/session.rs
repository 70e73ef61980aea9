//! Sessions: a worker joins, sends messages, disconnects, and returns with what it has kept.
//!
//! ```text
//!              WorkerJoined                WorkerDisconnected, TookOver
//!  (unknown) ----------------> in session -----------------------------> away
//!      ^                        |     ^                                   | |
//!      |   WorkerLeft, silence  |     +---------- WorkerReturned ---------+ |
//!      +------------------------+----------------- lease ends --------------+
//! ```
//!
//! A worker that is away keeps its work and gets no new tasks. When it returns, its inventory is
//! compared with what it should have: lost assignments are repeated, attempts that are not wanted
//! are cancelled, and missing outputs are lost.

use std::collections::BTreeSet;

use windrow_model::{JobId, WorkerId};

use crate::effect::Effect;
use crate::event::{Inventory, RequestId, WorkerOffer};
use crate::job::Jobs;
use crate::time::Timer;
use crate::transition::Transition;

/// Admits a new worker, which has nothing yet.
pub(crate) fn join(request: RequestId, offer: WorkerOffer, transition: &mut Transition<'_>) {
    let worker = transition.workers.admit(offer, request, transition.now);
    grant_lease(worker, transition);
    transition.effects.push(Effect::Admitted { request, worker });
}

/// Renews a worker's lease after a message. False when it has no session. A message that arrives
/// after the connection broke was sent before, and renews nothing.
pub(crate) fn renew_lease(worker: WorkerId, transition: &mut Transition<'_>) -> bool {
    let has_session = transition.workers.hear(worker, transition.now);
    if transition.workers.get(worker).is_some_and(|worker| !worker.is_away()) {
        grant_lease(worker, transition);
    }
    debug_assert!(
        !has_session || transition.deadlines.get(Timer::Lease(worker)).is_some(),
        "each session has a lease"
    );
    has_session
}

/// Grants a worker a whole lease.
pub(crate) fn grant_lease(worker: WorkerId, transition: &mut Transition<'_>) {
    debug_assert!(
        transition.workers.get(worker).is_some(),
        "only a worker with a session has a lease"
    );
    let ends = transition.now + transition.config.lease;
    transition.workers.set_lease(worker, ends);
    transition.deadlines.set(Timer::Lease(worker), ends);
}

/// Handles a broken connection. The worker gets no new tasks until it returns, and has little time
/// for that: most workers that disconnect have died, and their work waits. But if most workers are
/// away, a switch or a proxy is at fault, and all will come back: then they have their whole
/// leases, as after a takeover.
pub(crate) fn disconnect(worker: WorkerId, connection: RequestId, transition: &mut Transition<'_>) {
    let Some(there) = transition.workers.get(worker) else { return };
    if there.connection != Some(connection) {
        // The worker is back already, or the connection belonged to another coordinator.
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
        "a broken connection does not extend the lease"
    );
}

/// Resumes the session of a returning worker, if it has not ended.
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
        "a worker that is back has a lease"
    );
    transition.workers.has_not_gone(worker);
    transition.effects.push(Effect::Admitted { request, worker });
    cancel_unwanted(jobs, worker, inventory, transition);
    jobs.try_each(transition, |job, transition| job.compare(worker, inventory, transition));
}

/// Cancels attempts that should not run there, and releases the data of jobs that have ended.
fn cancel_unwanted(
    jobs: &mut Jobs,
    worker: WorkerId,
    inventory: &Inventory,
    transition: &mut Transition<'_>,
) {
    let mut over = BTreeSet::<JobId>::new();
    for &attempt in inventory.running.union(&inventory.outputs) {
        // The reports of these attempts, which are still to come, decide about them.
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
