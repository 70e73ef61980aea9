//! Publication of a job whose tasks are all done, which may fail for a reason that passes.
//!
//! ```text
//!              Publish                  Published(Ok)
//!  all done -----------> under way ---------------------> succeeded
//!                         ^     |
//!        Timer::Publish   |     | Published(Err), may pass
//!                         |     v
//!                        waits, can be cancelled
//!
//!  Published(Err) that cannot pass, or one too many: the job fails, and its winners' parts go
//! ```
//!
//! Hours of work are at stake, so that a file server that is restarted must not cost them. Whoever
//! publishes takes back what it did when it fails. Whether a failure may pass is the publisher's
//! judgement: it alone knows the system's error.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_model::{FailureCause, JobId};

use crate::effect::{Effect, JobFailure, Outcome};
use crate::event::Unpublished;
use crate::job::{Job, Jobs, Phase};
use crate::step::Step;
use crate::time::backoff::pause;
use crate::time::{Deadlines, Timer};
use crate::view::Waiting;

/// The failed attempts to publish one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailedPublication {
    /// So many.
    failures: u32,
    /// Of the last one.
    cause: FailureCause,
}

/// The publication of a job's output has ended.
pub(crate) fn ended(
    jobs: &mut Jobs,
    id: JobId,
    result: Result<(), Unpublished>,
    step: &mut Step<'_>,
) {
    let Some(job) = jobs.get_mut(id).filter(|job| job.is_publishing(step.deadlines)) else {
        // Nothing was asked for: the job has ended, or waits to be published again.
        return;
    };
    match result.map_err(|failure| job.publication_failed(failure, step)) {
        Ok(()) => jobs.end(id, Outcome::Succeeded, step),
        Err(Some(cause)) => jobs.end(id, Outcome::Failed(JobFailure::Publish(cause)), step),
        Err(None) => {}
    }
}

/// A job has waited long enough after a failure: it is published once more.
pub(crate) fn again(jobs: &Jobs, id: JobId, step: &mut Step<'_>) {
    let job = jobs.get(id).filter(|job| job.phase == Phase::Publishing);
    debug_assert!(job.is_some(), "the timer stops with its job");
    step.effects.extend(job.map(Job::publish));
}

impl Job {
    /// Asks for the publication of what the winners wrote.
    pub(crate) fn publish(&self) -> Effect {
        debug_assert_eq!(self.phase, Phase::Publishing, "parts are final from here on");
        debug_assert!(self.output_tasks().all_done(), "each part needs its winner");
        let winners: Vec<_> = self.output_tasks().winners().map(|(attempt, _)| attempt).collect();
        debug_assert_eq!(
            winners.len(),
            self.output_tasks().len() as usize,
            "each task has one part in the output"
        );
        debug_assert_eq!(self.running(), 0, "nothing writes to a part that becomes visible");
        Effect::Publish { job: self.id, winners }
    }

    /// Whether its publication is under way, and does not wait for its next try.
    pub(crate) fn is_publishing(&self, deadlines: &Deadlines) -> bool {
        self.phase == Phase::Publishing && deadlines.get(Timer::Publish(self.id)).is_none()
    }

    /// Why it waits to be published again, if it does.
    pub(crate) fn waits_to_publish(&self, deadlines: &Deadlines) -> Option<Waiting> {
        let again_at = deadlines.get(Timer::Publish(self.id))?;
        debug_assert!(self.publication.is_some(), "only a failure has it wait");
        let cause = self.publication.as_ref()?.cause.clone();
        Some(Waiting::Publication { again_at, cause: Box::new(cause) })
    }

    /// Has the job published again later. Returns the cause if there is no point in that.
    fn publication_failed(
        &mut self,
        failure: Unpublished,
        step: &mut Step<'_>,
    ) -> Option<FailureCause> {
        debug_assert_eq!(self.phase, Phase::Publishing, "what was not begun cannot fail");
        let Unpublished { cause, may_pass } = failure;
        let failures = self.publication.as_ref().map_or(0, |failed| failed.failures);
        // Who has stopped it is about to cancel the job, and does not find it failed.
        let failures = failures + u32::from(*cause != FailureCause::Cancelled);
        if !may_pass || failures >= step.config.publish_failures_max {
            return Some(*cause);
        }
        step.deadlines.set(Timer::Publish(self.id), step.now + self.next_try(failures, step));
        self.publication = Some(Box::new(FailedPublication { failures, cause: *cause }));
        None
    }

    fn next_try(&self, failures: u32, step: &Step<'_>) -> Duration {
        pause(failures.max(1), &[self.id.0], step.config)
    }
}
