//! All jobs: those that run, and what is still known of those that have ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windrow_jobs::{FailureCause, JobId};

use crate::deadlines::Timer;
use crate::effect::{Effect, JobFailure, Outcome};
use crate::event::{JobPlan, RequestId, SubmissionId};
use crate::job::{Job, JobResult, Phase};
use crate::step::Step;
use crate::view::{JobState, JobView};

/// All jobs of one coordinator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Jobs {
    running: BTreeMap<JobId, Job>,
    ended: BTreeMap<JobId, JobView>,
    /// Of all that are known.
    submissions: BTreeMap<SubmissionId, JobId>,
    accepted: u64,
}

impl Jobs {
    /// Takes a job in, under a name that none had before.
    pub(crate) fn submit(
        &mut self,
        request: RequestId,
        submission: SubmissionId,
        plan: JobPlan,
        step: &mut Step<'_>,
    ) {
        if let Some(&job) = self.submissions.get(&submission) {
            return step.effects.push(Effect::Accepted { request, job });
        }
        self.accepted += 1;
        let id = JobId(self.accepted);
        self.submissions.insert(submission, id);
        step.effects.push(Effect::Accepted { request, job: id });
        let job = self.running.entry(id).or_insert_with(|| Job::new(id, plan, step.now));
        if !step.workers.any_staying() {
            job.start_worker_clock(step);
        }
        // A map-only job without input is done before it begins.
        self.try_with(id, step, Job::publish_if_done);
    }

    /// Answers a submitter who does not know whether its job was accepted.
    pub(crate) fn resubmit(
        &self,
        request: RequestId,
        submission: SubmissionId,
        step: &mut Step<'_>,
    ) {
        step.effects.push(match self.submissions.get(&submission) {
            Some(&job) => Effect::Accepted { request, job },
            None => Effect::NotSubmitted { request },
        });
    }

    /// The job, if it has not ended.
    pub(crate) fn get(&self, id: JobId) -> Option<&Job> {
        self.running.get(&id)
    }

    /// Likewise, to be changed.
    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.running.get_mut(&id)
    }

    /// Those that have not ended.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Job> {
        self.running.values()
    }

    /// Likewise, to be changed.
    pub(crate) fn running_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.running.values_mut()
    }

    /// What is known of those that have ended.
    pub(crate) fn ended(&self) -> &BTreeMap<JobId, JobView> {
        &self.ended
    }

    /// Does something with one job, which ends if that fails. Nothing happens when there is no such job.
    pub(crate) fn try_with(
        &mut self,
        id: JobId,
        step: &mut Step<'_>,
        act: impl FnOnce(&mut Job, &mut Step<'_>) -> JobResult,
    ) {
        if let Some(Err(failure)) = self.running.get_mut(&id).map(|job| act(job, step)) {
            self.end(id, Outcome::Failed(*failure), step);
        }
    }

    /// Does something with every job that has not ended; those where it fails end.
    pub(crate) fn try_each(
        &mut self,
        step: &mut Step<'_>,
        mut act: impl FnMut(&mut Job, &mut Step<'_>) -> JobResult,
    ) {
        let mut failures = Vec::new();
        for (&id, job) in &mut self.running {
            if let Err(failure) = act(job, step) {
                failures.push((id, failure));
            }
        }
        for (id, failure) in failures {
            self.end(id, Outcome::Failed(*failure), step);
        }
    }

    /// Ends a job: what runs of it is cancelled, what is held of it can go, and its outcome is told last.
    pub(crate) fn end(&mut self, id: JobId, outcome: Outcome, step: &mut Step<'_>) {
        let Some(mut job) = self.running.remove(&id) else { return };
        job.stop_all(step);
        job.release(step);
        let mut view = job.view(step.workers, step.deadlines);
        view.state = JobState::Ended(outcome.clone());
        view.ended = Some(step.now);
        view.waiting = None;
        self.ended.insert(id, view);
        while self.ended.len() > step.config.ended_jobs_max {
            let Some((forgotten, _)) = self.ended.pop_first() else { break };
            self.submissions.retain(|_, job| *job != forgotten);
        }
        step.effects.push(Effect::Ended { job: id, outcome });
    }

    /// Ends a job that somebody wants to stop, and answers whether it could be stopped.
    pub(crate) fn cancel(&mut self, request: RequestId, id: JobId, step: &mut Step<'_>) {
        let cancelled = self.get(id).is_some_and(|job| job.phase == Phase::Running);
        step.effects.push(Effect::CancelAnswered { request, cancelled });
        if cancelled {
            self.end(id, Outcome::Cancelled, step);
        }
    }

    /// The publication of a job's output has ended.
    pub(crate) fn published(
        &mut self,
        id: JobId,
        result: Result<(), FailureCause>,
        step: &mut Step<'_>,
    ) {
        if self.get(id).is_some_and(|job| job.phase == Phase::Publishing) {
            let failed = |cause| Outcome::Failed(JobFailure::Publish(cause));
            self.end(id, result.map_or_else(failed, |()| Outcome::Succeeded), step);
        }
    }

    /// The last worker is gone, or going: from now on, each job waits for another one only so long.
    pub(crate) fn start_worker_clocks(&mut self, step: &mut Step<'_>) {
        for job in self.running.values() {
            job.start_worker_clock(step);
        }
    }

    /// A worker is there: no job waits for one any more.
    pub(crate) fn stop_worker_clocks(&mut self, step: &mut Step<'_>) {
        for &id in self.running.keys() {
            step.deadlines.clear(Timer::NoWorkers(id));
        }
    }

    /// A job has waited for a worker for as long as it wants to.
    pub(crate) fn waited_for_workers(&mut self, id: JobId, step: &mut Step<'_>) {
        let Some(job) = self.running.get_mut(&id) else { return };
        if job.running() > 0 {
            // A worker that is leaving still works for it, and may finish it.
            job.start_worker_clock(step);
        } else {
            self.end(id, Outcome::Failed(JobFailure::NoWorkers), step);
        }
    }
}

impl Job {
    pub(crate) fn start_worker_clock(&self, step: &mut Step<'_>) {
        if self.phase == Phase::Running {
            step.deadlines.set(Timer::NoWorkers(self.id), step.now + self.plan.worker_wait);
        }
    }
}
