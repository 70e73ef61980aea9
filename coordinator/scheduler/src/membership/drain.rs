//! Draining workers: they finish what they run, serve outputs that are still needed, and are then
//! told to go. A worker that goes earlier is lost like any other.

use windrow_model::WorkerId;

use crate::effect::Effect;
use crate::job::Jobs;
use crate::transition::Transition;

/// Tells draining workers that they may go, if they run nothing and hold no output that a reducer
/// may still need.
pub(crate) fn let_go(jobs: &Jobs, transition: &mut Transition<'_>) {
    let unneeded = |&worker: &WorkerId| !jobs.running().any(|job| job.needs_worker(worker));
    let leaving: Vec<_> = transition.workers.idle_draining().filter(unneeded).collect();
    for worker in leaving {
        debug_assert!(
            transition.workers.get(worker).is_some_and(|worker| worker.running.is_empty()),
            "a drained worker runs nothing"
        );
        debug_assert!(
            transition.workers.get(worker).is_some_and(|worker| !worker.is_away()),
            "a worker that is away would not hear it"
        );
        transition.workers.drained(worker);
        transition.effects.push(Effect::Drained { worker });
    }
}
