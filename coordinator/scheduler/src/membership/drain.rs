//! Workers that want to leave: they finish what they run, keep serving what others still need, and
//! are told when they may go. One that goes earlier is lost like any other.

use windrow_model::WorkerId;

use crate::effect::Effect;
use crate::job::Jobs;
use crate::transition::Transition;

/// Tells workers that are draining, run nothing, and hold nothing that an unfinished reducer may
/// need, that they may go.
pub(crate) fn let_go(jobs: &Jobs, transition: &mut Transition<'_>) {
    let unneeded = |&worker: &WorkerId| !jobs.running().any(|job| job.needs_worker(worker));
    let leaving: Vec<_> = transition.workers.idle_draining().filter(unneeded).collect();
    for worker in leaving {
        debug_assert!(
            transition.workers.get(worker).is_some_and(|worker| worker.running.is_empty()),
            "what runs is finished first"
        );
        debug_assert!(
            transition.workers.get(worker).is_some_and(|worker| !worker.is_away()),
            "who is away would not hear it"
        );
        transition.workers.drained(worker);
        transition.effects.push(Effect::Drained { worker });
    }
}
