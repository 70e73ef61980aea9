//! The jobs that have ended last are remembered, whatever their ids: a long job must not be
//! forgotten before its clients have heard its outcome.

use windrow_jobs::JobId;
use windrow_scheduler::{JobState, Scheduler};

use super::{Ledger, check};

pub fn check_remembers(scheduler: &Scheduler, ledger: &Ledger) -> Result<(), String> {
    for (&id, job) in ledger.jobs.iter().filter(|(_, job)| job.ended.is_some()) {
        let is_known = scheduler.job(id).is_some_and(|view| is_over(&view.state));
        check(is_known || is_forgotten(id, ledger), || {
            let outcome = &job.ended;
            format!("remembers: {id} has just ended ({outcome:?}), and is not known")
        })?;
    }
    Ok(())
}

fn is_over(state: &JobState) -> bool {
    matches!(state, JobState::Ended(_))
}

/// Whether a job may be forgotten, since enough others have settled after it.
pub fn is_forgotten(job: JobId, ledger: &Ledger) -> bool {
    let last = ledger.settled.iter().rev().take(ledger.config.ended_jobs_max);
    ledger.settled.contains(&job) && !last.copied().any(|settled| settled == job)
}
