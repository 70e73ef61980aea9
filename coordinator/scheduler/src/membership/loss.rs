//! The loss of a worker.

use windrow_model::{FailureCause, WorkerId};

use crate::job::Jobs;
use crate::time::Timer;
use crate::transition::Transition;

/// The one transition that loses a worker, however the loss was noticed.
pub(crate) fn lose_worker(
    jobs: &mut Jobs,
    id: WorkerId,
    reason: &str,
    transition: &mut Transition<'_>,
) {
    let Some(worker) = transition.workers.remove(id) else { return };
    debug_assert!(
        transition.workers.get(id).is_none(),
        "no effect is addressed to the lost worker"
    );
    transition.deadlines.clear(Timer::Lease(id));
    jobs.try_each(transition, |job, transition| {
        let job_id = job.id();
        let attempts: Vec<_> =
            worker.running.iter().copied().filter(|attempt| attempt.task.job == job_id).collect();
        let cause = FailureCause::WorkerLost { worker: id, reason: reason.to_string() };
        job.worker_lost(id, &attempts, &cause, transition)
    });
}
