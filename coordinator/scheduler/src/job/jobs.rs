//! All jobs: those that run, and what is still known of those that have ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter;
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use windrow_model::{FailureCause, JobId};

use super::submitters::{Shares, Submitters};
use super::{Job, JobResult};
use crate::effect::{Effect, JobFailure, Outcome};
use crate::event::{JobPlan, RequestId, SubmissionId};
use crate::step::Step;
use crate::time::Timer;
use crate::view::{JobState, JobView};

/// All jobs of one coordinator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Jobs {
    running: BTreeMap<JobId, Job>,
    /// Those of them that may be given more tasks than there are slots.
    quick: BTreeSet<JobId>,
    /// Whose jobs run.
    submitters: Submitters,
    ended: BTreeMap<JobId, EndedJob>,
    /// Ended jobs of which nothing partial is left, in the order in which that was so. The first is
    /// forgotten first: a job that has outlived many younger ones is still the last to have ended.
    settled: VecDeque<JobId>,
    /// Of all that are known, ended ones included.
    submissions: BTreeMap<SubmissionId, JobId>,
    accepted: u64,
}

/// What is still known of a job that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EndedJob {
    view: JobView,
    submission: SubmissionId,
    /// Whether nothing partial is left of it. Before, whoever waits for its end has not been told.
    settled: bool,
}

impl Jobs {
    /// Takes a job in, under a name that none had before.
    pub(crate) fn submit(
        &mut self,
        request: RequestId,
        submission: SubmissionId,
        plan: &JobPlan,
        step: &mut Step<'_>,
    ) {
        if let Some(&job) = self.submissions.get(&submission) {
            return step.effects.push(Effect::Accepted { request, job });
        }
        self.accepted += 1;
        let id = JobId(self.accepted);
        debug_assert!(
            !self.ended.contains_key(&id) && !self.running.contains_key(&id),
            "a number is given once"
        );
        self.submissions.insert(submission, id);
        step.effects.push(Effect::Accepted { request, job: id });
        let new = || Job::new(id, submission, plan.clone(), step);
        self.submitters.begin(plan.submitter);
        let job = self.running.entry(id).or_insert_with(new);
        job.look_for_workers(step);
        self.check_submissions();
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

    /// The job, if it has not ended, to be changed.
    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.running.get_mut(&id)
    }

    /// The jobs that have not ended.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Job> {
        self.running.values()
    }

    /// The numbers of all that are known, the latest first, from before this one on. Looks only at
    /// what is taken.
    pub(crate) fn latest(&self, before: Option<JobId>) -> impl Iterator<Item = JobId> {
        let range = (Bound::Unbounded, before.map_or(Bound::Unbounded, Bound::Excluded));
        let mut running = self.running.range(range).rev().map(|(id, _)| *id).peekable();
        let mut ended = self.ended.range(range).rev().map(|(id, _)| *id).peekable();
        iter::from_fn(move || match running.peek() > ended.peek() {
            true => running.next(),
            false => ended.next(),
        })
    }

    /// Those of them that may be given more tasks than there are slots.
    pub(crate) fn quick(&self) -> impl Iterator<Item = &Job> {
        self.quick.iter().filter_map(|id| self.running.get(id))
    }

    /// Whose jobs these are.
    pub(crate) fn submitters(&self) -> &Submitters {
        &self.submitters
    }

    /// What runs for each submitter, where there are several.
    pub(crate) fn shares(&self) -> Shares {
        let several = if self.submitters.are_several() { usize::MAX } else { 0 };
        let jobs = self.running.values().take(several);
        Shares::of(jobs.map(|job| (job.plan.submitter, job.running())))
    }

    /// When the submitter of a job was served last.
    pub(crate) fn turn_of(&self, job: &Job) -> u64 {
        self.submitters.turn(job.plan.submitter)
    }

    /// A job of this submitter was given a slot.
    pub(crate) fn serve(&mut self, submitter: u64, turn: u64) {
        self.submitters.serve(submitter, turn);
    }

    /// The jobs that have not ended, to be changed.
    pub(crate) fn running_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.running.values_mut()
    }

    /// What is known of one that has ended.
    pub(crate) fn ended(&self, id: JobId) -> Option<&JobView> {
        self.ended.get(&id).map(|ended| &ended.view)
    }

    /// What is known of those that have ended.
    pub(crate) fn all_ended(&self) -> impl Iterator<Item = &JobView> {
        self.ended.values().map(|ended| &ended.view)
    }

    /// Does something with one job, which ends if that fails. Nothing happens when there is no such
    /// job.
    pub(crate) fn try_with(
        &mut self,
        id: JobId,
        step: &mut Step<'_>,
        act: impl FnOnce(&mut Job, &mut Step<'_>) -> JobResult,
    ) {
        let Some(job) = self.running.get_mut(&id) else { return };
        let result = act(job, step);
        match job.is_quick() {
            true => _ = self.quick.insert(id),
            false => _ = self.quick.remove(&id),
        }
        if let Err(failure) = result {
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

    /// Ends a job: what runs of it is cancelled, what is held of it can go, and its outcome is told
    /// last.
    pub(crate) fn end(&mut self, id: JobId, outcome: Outcome, step: &mut Step<'_>) {
        let Some(mut job) = self.running.remove(&id) else { return };
        self.quick.remove(&id);
        self.submitters.end(job.plan.submitter);
        job.stop_all(step);
        debug_assert_eq!(job.running(), 0, "slots of a job that has ended are free");
        job.release(step);
        let mut view = job.view(step.workers, step.deadlines, step.now);
        view.state = JobState::Ended(outcome.clone());
        view.ended = Some(step.now);
        view.waiting = None;
        let ended = EndedJob { view, submission: job.submission, settled: false };
        let former = self.ended.insert(id, ended);
        debug_assert!(former.is_none(), "a job ends once");
        debug_assert!(
            step.deadlines.get(Timer::NoWorkers(id)).is_none()
                && step.deadlines.get(Timer::Publish(id)).is_none(),
            "the clocks of a job stop with it"
        );
        self.check_submissions();
        step.effects.push(Effect::Ended { job: id, outcome });
    }

    /// Nothing partial is left of a job that has ended, and all may know its outcome. From now on,
    /// it counts among those of which only so many are remembered.
    pub(crate) fn settle(&mut self, id: JobId, step: &Step<'_>) {
        let Some(ended) = self.ended.get_mut(&id).filter(|ended| !ended.settled) else { return };
        ended.settled = true;
        self.settled.push_back(id);
        while self.settled.len() > step.config.ended_jobs_max {
            self.forget_first();
        }
        debug_assert!(self.settled.len() <= self.ended.len(), "only jobs that have ended settle");
    }

    fn forget_first(&mut self) {
        let forgotten = self.settled.pop_front().and_then(|id| self.ended.remove(&id));
        debug_assert!(forgotten.is_some(), "what has settled is known until it is forgotten");
        if let Some(forgotten) = forgotten {
            let job = self.submissions.remove(&forgotten.submission);
            debug_assert_eq!(job, Some(forgotten.view.job), "a submission is kept with its job");
            debug_assert!(forgotten.settled, "whoever waits for its end has been told");
        }
        self.check_submissions();
    }

    /// A submission that outlived its job would be refused a new one, and one that its job outlives
    /// would run twice.
    fn check_submissions(&self) {
        debug_assert_eq!(
            self.submissions.len(),
            self.running.len() + self.ended.len(),
            "each job that is known has its submission, and each submission its job"
        );
    }

    /// Ends a job that somebody wants to stop, and answers whether it could be stopped.
    pub(crate) fn cancel(&mut self, request: RequestId, id: JobId, step: &mut Step<'_>) {
        let cancelled = self.get(id).is_some_and(|job| !job.is_publishing(step.deadlines));
        step.effects.push(Effect::CancelAnswered { request, cancelled });
        if cancelled {
            self.end(id, Outcome::Cancelled, step);
        }
    }

    /// A job's output folder cannot be had again.
    pub(crate) fn output_lost(&mut self, id: JobId, cause: FailureCause, step: &mut Step<'_>) {
        self.end(id, Outcome::Failed(JobFailure::OutputLost(cause)), step);
    }

    /// Workers of some kind have come, or the last of them are gone, or going: each job waits for
    /// one that can run it only so long.
    pub(crate) fn look_for_workers(&self, step: &mut Step<'_>) {
        for job in self.running.values() {
            job.look_for_workers(step);
        }
    }

    /// A job has waited for a worker for as long as it wants to.
    pub(crate) fn waited_for_workers(&mut self, id: JobId, step: &mut Step<'_>) {
        let Some(job) = self.running.get_mut(&id) else { return };
        if job.running() > 0 {
            // A worker that is leaving still works for it, and may finish it.
            return job.start_worker_clock_anew(step);
        }
        debug_assert!(!job.has_workers(step.workers), "the clock stops when one comes");
        let failure = match step.workers.any_staying() {
            true => JobFailure::NoFit,
            false => JobFailure::NoWorkers,
        };
        self.end(id, Outcome::Failed(failure), step);
    }
}
