//! The jobs that have ended last can still be asked about, whatever their numbers: a job that was
//! long in running must not be forgotten before those who wait for it have heard how it ended.

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

/// Whether a job may be forgotten: so many have settled since.
pub fn is_forgotten(job: JobId, ledger: &Ledger) -> bool {
    let last = ledger.settled.iter().rev().take(ledger.config.ended_jobs_max);
    ledger.settled.contains(&job) && !last.copied().any(|settled| settled == job)
}
