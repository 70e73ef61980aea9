//! No task without an owner or a reason: a job that has not ended runs an attempt or is being
//! published, or its view says correctly what it waits for.

use windrow_scheduler::{JobState, JobView, Scheduler, Waiting};

use super::{Ledger, check};

/// Checks all jobs between two events.
pub fn check_owners(scheduler: &Scheduler, ledger: &Ledger) -> Result<(), String> {
    let mut open = 0;
    for view in scheduler.jobs().filter(|view| !matches!(view.state, JobState::Ended(_))) {
        open += 1;
        check_job(&view, scheduler, ledger)?;
    }
    let known = ledger.jobs.values().filter(|job| job.ended.is_none()).count();
    check(open == known, || format!("owners: {open} jobs are open, not {known}"))
}

fn check_job(view: &JobView, scheduler: &Scheduler, ledger: &Ledger) -> Result<(), String> {
    let id = view.job;
    let running = ledger.running().filter(|(attempt, _)| attempt.task.job == id).count();
    let owned = view.map.running + view.reduce.running;
    check(running == owned as usize, || {
        format!("owners: {id} runs {owned} attempts, not {running}")
    })?;
    let deserted = ledger.deserted_since.is_some();
    let reason = match &view.waiting {
        None => view.state == JobState::Publishing || owned > 0,
        Some(Waiting::NoWorkers { .. }) => {
            deserted && !ledger.any_fits(id) && scheduler.next_deadline().is_some()
        }
        Some(Waiting::Slots | Waiting::Away { .. }) => !deserted && owned == 0,
        Some(Waiting::Silent { attempts, .. }) => owned == *attempts,
        Some(Waiting::NoFit { .. }) => !deserted && owned == 0 && !ledger.any_fits(id),
        // A deadline ends it.
        Some(Waiting::Backoff | Waiting::Publication { .. }) => {
            owned == 0 && scheduler.next_deadline().is_some()
        }
    };
    check(reason, || format!("owners: {id} waits for {:?}", view.waiting))
}
