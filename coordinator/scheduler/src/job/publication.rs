//! Publication of a job whose tasks are all done. It is retried after transient faults.
//!
//! ```text
//!              Publish                  Published(Ok)
//!  all done -----------> under way ---------------------> succeeded
//!                         ^     |
//!        Timer::Publish   |     | Published(Err), transient
//!                         |     v
//!                        waits, can be cancelled
//!
//!  Published(Err), permanent or one too many: the job fails, and its winners' parts are deleted
//! ```
//!
//! Hours of work are at stake: a restart of a file server must not cost them. A publisher that
//! fails undoes what it did. It also judges whether the fault is transient, since it alone knows
//! the system's error.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_model::{FailureCause, JobId};

use crate::effect::{Effect, JobFailure, Outcome};
use crate::event::Unpublished;
use crate::job::{Job, Jobs};
use crate::time::backoff::pause;
use crate::time::{Deadlines, Timer};
use crate::transition::Transition;
use crate::view::Waiting;

/// The phases of a job that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Tasks wait or run.
    Running,
    /// All tasks are done, and the output is being made visible, or waits to be. The job never
    /// returns to its tasks, and needs no worker any more. It can be cancelled only while it waits.
    Publishing(Publication),
}

/// The publication of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Publication {
    /// The failed attempts, if there are any.
    failed: Option<Box<FailedPublication>>,
}

/// The failed attempts to publish one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FailedPublication {
    /// How many.
    failures: u32,
    /// The cause of the latest.
    cause: FailureCause,
}

impl Phase {
    /// A publication begins.
    pub(super) fn publishing() -> Self {
        Self::Publishing(Publication { failed: None })
    }

    /// Whether tasks wait or run.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    /// The failed attempts to publish.
    fn failed(&self) -> Option<&FailedPublication> {
        match self {
            Self::Running => None,
            Self::Publishing(publication) => publication.failed.as_deref(),
        }
    }

    /// Whether an attempt to publish has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed().is_some()
    }
}

/// Handles the end of a publication.
pub(crate) fn ended(
    jobs: &mut Jobs,
    id: JobId,
    result: Result<(), Unpublished>,
    transition: &mut Transition<'_>,
) {
    let Some(job) = jobs.get_mut(id).filter(|job| job.is_publishing(transition.deadlines)) else {
        // Late: the job has ended, or waits to be published again.
        return;
    };
    match result.map_err(|failure| job.publication_failed(failure, transition)) {
        Ok(()) => jobs.end(id, Outcome::Succeeded, transition),
        Err(Some(cause)) => jobs.end(id, Outcome::Failed(JobFailure::Publish(cause)), transition),
        Err(None) => {}
    }
}

/// Publishes a job again after its pause.
pub(crate) fn again(jobs: &Jobs, id: JobId, transition: &mut Transition<'_>) {
    let job = jobs.get(id).filter(|job| !job.phase.is_running());
    debug_assert!(job.is_some(), "the timer ends with its job");
    transition.effects.extend(job.map(Job::publish));
}

impl Job {
    /// Asks for the publication of the winners' parts.
    pub(crate) fn publish(&self) -> Effect {
        debug_assert!(!self.phase.is_running(), "parts are final");
        let tasks = self.stages.output_tasks();
        debug_assert!(tasks.all_done(), "each part has a winner");
        let winners: Vec<_> = tasks.winners().map(|(attempt, _)| attempt).collect();
        debug_assert_eq!(
            winners.len(),
            tasks.len() as usize,
            "each task has one part in the output"
        );
        debug_assert_eq!(self.running(), 0, "no attempt writes while parts become visible");
        Effect::Publish { job: self.id, winners }
    }

    /// Whether its publication is under way, rather than waiting for a retry.
    pub(crate) fn is_publishing(&self, deadlines: &Deadlines) -> bool {
        !self.phase.is_running() && deadlines.get(Timer::Publish(self.id)).is_none()
    }

    /// Why and until when its publication waits, if it does.
    pub(crate) fn waits_to_publish(&self, deadlines: &Deadlines) -> Option<Waiting> {
        let again_at = deadlines.get(Timer::Publish(self.id))?;
        debug_assert!(self.phase.has_failed(), "a publication waits only after a failure");
        let cause = self.phase.failed()?.cause.clone();
        Some(Waiting::Publication { again_at, cause: Box::new(cause) })
    }

    /// Schedules another publication. Returns the cause if there is none.
    fn publication_failed(
        &mut self,
        failure: Unpublished,
        transition: &mut Transition<'_>,
    ) -> Option<FailureCause> {
        debug_assert!(!self.phase.is_running(), "only a publication that was begun can fail");
        let Unpublished { cause, may_pass } = failure;
        let failures = self.phase.failed().map_or(0, |failed| failed.failures);
        // A cancelled publication does not count: its canceller is about to end the job as
        // cancelled, not failed.
        let failures = failures + u32::from(*cause != FailureCause::Cancelled);
        if !may_pass || failures >= transition.config.publish_failures_max {
            return Some(*cause);
        }
        transition
            .deadlines
            .set(Timer::Publish(self.id), transition.now + self.next_try(failures, transition));
        let failed = Some(Box::new(FailedPublication { failures, cause: *cause }));
        self.phase = Phase::Publishing(Publication { failed });
        None
    }

    fn next_try(&self, failures: u32, transition: &Transition<'_>) -> Duration {
        pause(failures.max(1), &[self.id.0], transition.config)
    }
}
