//! What a coordinator does first that takes over from another one, itself before a restart perhaps.
//!
//! Replayed events have brought it where the other one was, but for what that one knew from
//! heartbeats alone, and but for effects that may not have been carried out. So every worker counts
//! as away, and is given a lease in which to come back; clocks start anew; and what is being
//! published is published again, unless it waits for that. The answers to those who waited are
//! lost: they ask again.

use windrow_model::StageId;

use crate::job::Jobs;
use crate::membership::session::grant_lease;
use crate::transition::Transition;
use crate::worker::SlotDepth;

/// Begins to decide in another coordinator's place.
pub(crate) fn begin(jobs: &mut Jobs, transition: &mut Transition<'_>) {
    for worker in transition.workers.ids() {
        transition.workers.hear(worker, transition.now);
        transition.workers.set_connection(worker, None);
        grant_lease(worker, transition);
        debug_assert!(
            transition.workers.get(worker).is_some_and(|worker| worker.is_away()),
            "it gets nothing before it has said what it has"
        );
    }
    debug_assert!(
        StageId::ALL.iter().all(|&stage| !transition.workers.any_free(stage, SlotDepth::Several)),
        "no slot is given before its worker has said what runs in it"
    );
    for job in jobs.running_mut() {
        job.start_clocks_anew(transition);
        if job.is_publishing(transition.deadlines) {
            transition.effects.push(job.publish());
        }
    }
}
