//! The first transition after a takeover, which may be a restart of the same coordinator.
//!
//! Replay has restored the state, except for what came from heartbeats, and effects of it may not
//! have been carried out. So every worker counts as away and gets a lease in which to come back;
//! clocks restart; and publications begin again, unless they wait for a retry. Answers to callers
//! are lost: they ask again.

use windrow_model::StageId;

use crate::job::Jobs;
use crate::membership::session::grant_lease;
use crate::transition::Transition;
use crate::worker::SlotDepth;

/// Begins to decide in place of the predecessor.
pub(crate) fn begin(jobs: &mut Jobs, transition: &mut Transition<'_>) {
    for worker in transition.workers.ids() {
        transition.workers.hear(worker, transition.now);
        transition.workers.set_connection(worker, None);
        grant_lease(worker, transition);
        debug_assert!(
            transition.workers.get(worker).is_some_and(|worker| worker.is_away()),
            "a worker gets no task before its inventory is known"
        );
    }
    debug_assert!(
        StageId::ALL.iter().all(|&stage| !transition.workers.any_free(stage, SlotDepth::Several)),
        "no slot is free before its worker's inventory is known"
    );
    for job in jobs.running_mut() {
        job.start_clocks_anew(transition);
        if job.is_publishing(transition.deadlines) {
            transition.effects.push(job.publish());
        }
    }
}
