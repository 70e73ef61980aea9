//! A job ends for the reason that it names.

use windrow_jobs::{FailureCause, FailureClass, TaskId};
use windrow_scheduler::{Effect, JobFailure, Outcome};

use super::ledger::{Job, Status};
use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct JobEnds;

impl Rule for JobEnds {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let Effect::Ended { job: id, outcome } = effect else { return Ok(()) };
        let Some(job) = ledger.jobs.get(id) else { return Err(format!("there is no {id}")) };
        let honest = match outcome {
            Outcome::Succeeded => job.publishing,
            Outcome::Cancelled => job.cancelled && !job.is_being_published(),
            Outcome::Failed(JobFailure::Publish(cause)) => {
                let failure = job.published.as_ref().and_then(|result| result.as_ref().err());
                failure.is_some_and(|failure| *failure.cause == *cause)
            }
            Outcome::Failed(JobFailure::OutputLost(cause)) => {
                job.output_lost.as_ref() == Some(cause)
            }
            // No pair is lost silently in this world.
            Outcome::Failed(JobFailure::Audit { .. }) => false,
            Outcome::Failed(JobFailure::BadRecords { skipped, budget, .. }) => {
                let of_job = ledger.poison.iter().filter(|(task, _)| task.job == *id);
                let deadly = of_job.map(|(_, places)| places.len() as u64).sum();
                !budget.covers(*skipped, 0) && *skipped <= deadly
            }
            Outcome::Failed(JobFailure::Poison { task, records, .. }) => {
                *records > ledger.config.poison_max
                    && ledger.poison.get(task).is_some_and(|p| p.len() == *records as usize)
            }
            Outcome::Failed(JobFailure::NoWorkers) => waited(job, ledger),
            Outcome::Failed(JobFailure::NoFit) => waited(job, ledger),
            Outcome::Failed(JobFailure::Task { task, attempts, cause }) => {
                ledger.attempts_of(*task).count() == *attempts as usize
                    && failed_often(*task, cause, job, ledger)
            }
        };
        check(honest, || format!("{id} has no reason to end with {outcome:?}"))
    }
}

fn waited(job: &Job, ledger: &Ledger) -> bool {
    let waited = |since| ledger.now.since(since) >= job.plan.worker_wait;
    !job.publishing && job.unfit_since.is_some_and(waited)
}

fn failed_often(task: TaskId, cause: &FailureCause, job: &Job, ledger: &Ledger) -> bool {
    let count = |of: &dyn Fn(&Status) -> bool| {
        ledger.attempts_of(task).filter(|(_, attempt)| of(&attempt.status)).count() as u32
    };
    // A map output that could not be fetched belongs to an attempt that was done.
    let written_off = count(&|status| *status == Status::Done);
    match (cause, cause.class()) {
        _ if cause.died_alone() == Some(false) => {
            let died = |status: &Status| match status {
                Status::Failed(cause) => cause.died_alone() == Some(false),
                _ => false,
            };
            count(&died) >= ledger.config.deaths_max
        }
        (FailureCause::FetchFailed { .. }, _) => {
            let failed = |status: &Status| {
                matches!(status, Status::Failed(FailureCause::FetchFailed { .. }))
            };
            count(&failed) + written_off >= ledger.config.fetch_failures_max
        }
        (_, FailureClass::Attempt) => {
            // An attempt that the scheduler has cancelled while the job ran had stalled.
            let failed = |status: &Status| match status {
                Status::Failed(cause) => {
                    cause.class() == FailureClass::Attempt && job.poison(cause).is_none()
                }
                status => *status == Status::Cancelled,
            };
            // More only if an attempt and its backup both ran when the job failed.
            count(&failed) >= job.plan.max_attempts
        }
        (_, FailureClass::Infrastructure) => {
            count(&|status| matches!(status, Status::Lost | Status::Unknown)) + written_off
                >= ledger.config.losses_max
        }
        (_, FailureClass::Fatal) => true,
        // No other class of failure may fail a job.
        _ => false,
    }
}
