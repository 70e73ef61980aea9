//! All jobs: the running ones, and what is remembered of those that have ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter;
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use windrow_model::{FailureCause, JobId};

use super::submitters::{Shares, Submitters};
use super::{Job, JobResult};
use crate::effect::{Effect, JobFailure, Outcome};
use crate::event::{JobPlan, RequestId, SubmissionId};
use crate::time::Timer;
use crate::transition::Transition;
use crate::view::{JobState, JobView};

/// All jobs of one coordinator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Jobs {
    running: BTreeMap<JobId, Job>,
    /// Running jobs that may be given more tasks than there are slots.
    quick: BTreeSet<JobId>,
    /// The submitters of running jobs.
    submitters: Submitters,
    ended: BTreeMap<JobId, EndedJob>,
    /// Ended jobs whose partial files are gone, in the order in which that was done. The first is
    /// forgotten first: a job that outlived many younger ones is still the latest to have ended.
    settled: VecDeque<JobId>,
    /// The submissions of all remembered jobs, ended ones included.
    submissions: BTreeMap<SubmissionId, JobId>,
    accepted: u64,
}

/// What is remembered of a job that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EndedJob {
    view: JobView,
    submission: SubmissionId,
    /// Whether its partial files are gone. Only then callers that wait for its end are told.
    settled: bool,
}

impl Jobs {
    /// Accepts a job, under an id that was never used before.
    pub(crate) fn submit(
        &mut self,
        request: RequestId,
        submission: SubmissionId,
        plan: &JobPlan,
        transition: &mut Transition<'_>,
    ) {
        if let Some(&job) = self.submissions.get(&submission) {
            return transition.effects.push(Effect::Accepted { request, job });
        }
        self.accepted += 1;
        let id = JobId(self.accepted);
        debug_assert!(
            !self.ended.contains_key(&id) && !self.running.contains_key(&id),
            "a number is given once"
        );
        self.submissions.insert(submission, id);
        transition.effects.push(Effect::Accepted { request, job: id });
        let new = || Job::new(id, submission, plan.clone(), transition);
        self.submitters.begin(plan.submitter);
        let job = self.running.entry(id).or_insert_with(new);
        job.look_for_workers(transition);
        self.check_submissions();
        // A map-only job without input is done at once.
        self.try_with(id, transition, Job::publish_if_done);
    }

    /// Answers a submitter that has not learned whether its job was accepted.
    pub(crate) fn resubmit(
        &self,
        request: RequestId,
        submission: SubmissionId,
        transition: &mut Transition<'_>,
    ) {
        transition.effects.push(match self.submissions.get(&submission) {
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

    /// The ids of all remembered jobs, the latest first, from before `before` on. Lazy: costs only
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

    /// Running jobs that may be given more tasks than there are slots.
    pub(crate) fn quick(&self) -> impl Iterator<Item = &Job> {
        self.quick.iter().filter_map(|id| self.running.get(id))
    }

    /// The submitters of running jobs.
    pub(crate) fn submitters(&self) -> &Submitters {
        &self.submitters
    }

    /// The running attempts by submitter, if there are several submitters.
    pub(crate) fn shares(&self) -> Shares {
        let several = if self.submitters.are_several() { usize::MAX } else { 0 };
        let jobs = self.running.values().take(several);
        Shares::of(jobs.map(|job| (job.plan().submitter, job.running())))
    }

    /// When the submitter of a job was last given a slot.
    pub(crate) fn turn_of(&self, job: &Job) -> u64 {
        self.submitters.turn(job.plan().submitter)
    }

    /// Notes that a job of this submitter was given a slot.
    pub(crate) fn serve(&mut self, submitter: u64, turn: u64) {
        self.submitters.serve(submitter, turn);
    }

    /// The jobs that have not ended, to be changed.
    pub(crate) fn running_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.running.values_mut()
    }

    /// The view of a job that has ended.
    pub(crate) fn ended(&self, id: JobId) -> Option<&JobView> {
        self.ended.get(&id).map(|ended| &ended.view)
    }

    /// The views of all jobs that have ended.
    pub(crate) fn all_ended(&self) -> impl Iterator<Item = &JobView> {
        self.ended.values().map(|ended| &ended.view)
    }

    /// Applies `act` to one job and ends the job if that fails. Does nothing if there is no such
    /// job.
    pub(crate) fn try_with(
        &mut self,
        id: JobId,
        transition: &mut Transition<'_>,
        act: impl FnOnce(&mut Job, &mut Transition<'_>) -> JobResult,
    ) {
        let Some(job) = self.running.get_mut(&id) else { return };
        let result = act(job, transition);
        match job.is_quick() {
            true => _ = self.quick.insert(id),
            false => _ = self.quick.remove(&id),
        }
        if let Err(failure) = result {
            self.end(id, Outcome::Failed(*failure), transition);
        }
    }

    /// Applies `act` to every job that has not ended, and ends those for which it fails.
    pub(crate) fn try_each(
        &mut self,
        transition: &mut Transition<'_>,
        mut act: impl FnMut(&mut Job, &mut Transition<'_>) -> JobResult,
    ) {
        let mut failures = Vec::new();
        for (&id, job) in &mut self.running {
            if let Err(failure) = act(job, transition) {
                failures.push((id, failure));
            }
        }
        for (id, failure) in failures {
            self.end(id, Outcome::Failed(*failure), transition);
        }
    }

    /// Ends a job: cancels its attempts, releases its data, and reports its outcome last.
    pub(crate) fn end(&mut self, id: JobId, outcome: Outcome, transition: &mut Transition<'_>) {
        let Some(mut job) = self.running.remove(&id) else { return };
        self.quick.remove(&id);
        self.submitters.end(job.plan.submitter);
        job.stop_all(transition);
        debug_assert_eq!(job.running(), 0, "slots of a job that has ended are free");
        job.release(transition);
        let mut view = job.view(transition.workers, transition.deadlines, transition.now);
        view.state = JobState::Ended(outcome.clone());
        view.ended = Some(transition.now);
        view.waiting = None;
        let ended = EndedJob { view, submission: job.submission, settled: false };
        let former = self.ended.insert(id, ended);
        debug_assert!(former.is_none(), "a job ends once");
        debug_assert!(
            transition.deadlines.get(Timer::NoWorkers(id)).is_none()
                && transition.deadlines.get(Timer::Publish(id)).is_none(),
            "a job's timers end with it"
        );
        self.check_submissions();
        transition.effects.push(Effect::Ended { job: id, outcome });
    }

    /// Marks an ended job as settled: its partial files are gone, and its outcome may be told. From
    /// now on it counts against the limit of ended jobs.
    pub(crate) fn settle(&mut self, id: JobId, transition: &Transition<'_>) {
        let Some(ended) = self.ended.get_mut(&id).filter(|ended| !ended.settled) else { return };
        ended.settled = true;
        self.settled.push_back(id);
        while self.settled.len() > transition.config.ended_jobs_max {
            self.forget_first();
        }
        debug_assert!(self.settled.len() <= self.ended.len(), "only jobs that have ended settle");
    }

    fn forget_first(&mut self) {
        let forgotten = self.settled.pop_front().and_then(|id| self.ended.remove(&id));
        debug_assert!(forgotten.is_some(), "a settled job is known until it is forgotten");
        if let Some(forgotten) = forgotten {
            let job = self.submissions.remove(&forgotten.submission);
            debug_assert_eq!(
                job,
                Some(forgotten.view.job),
                "a submission is kept as long as its job"
            );
            debug_assert!(forgotten.settled, "callers that wait for its end have been told");
        }
        self.check_submissions();
    }

    /// Checks that submissions live as long as their jobs: longer, a new one would be refused;
    /// shorter, it would run twice.
    fn check_submissions(&self) {
        debug_assert_eq!(
            self.submissions.len(),
            self.running.len() + self.ended.len(),
            "jobs and submissions are one to one"
        );
    }

    /// Cancels a job, and answers whether that was possible.
    pub(crate) fn cancel(
        &mut self,
        request: RequestId,
        id: JobId,
        transition: &mut Transition<'_>,
    ) {
        let cancelled = self.get(id).is_some_and(|job| !job.is_publishing(transition.deadlines));
        transition.effects.push(Effect::CancelAnswered { request, cancelled });
        if cancelled {
            self.end(id, Outcome::Cancelled, transition);
        }
    }

    /// Ends a job whose output folder could not be taken over.
    pub(crate) fn output_lost(
        &mut self,
        id: JobId,
        cause: FailureCause,
        transition: &mut Transition<'_>,
    ) {
        self.end(id, Outcome::Failed(JobFailure::OutputLost(cause)), transition);
    }

    /// Starts or stops the clocks of jobs that wait for a worker, after the workers of some
    /// platform have come or gone.
    pub(crate) fn look_for_workers(&self, transition: &mut Transition<'_>) {
        for job in self.running.values() {
            job.look_for_workers(transition);
        }
    }

    /// Ends a job that has waited for a worker for too long.
    pub(crate) fn waited_for_workers(&mut self, id: JobId, transition: &mut Transition<'_>) {
        let Some(job) = self.running.get_mut(&id) else { return };
        if job.running() > 0 {
            // A draining worker still runs its tasks, and may finish the job.
            return job.start_worker_clock_anew(transition);
        }
        debug_assert!(!job.has_workers(transition.workers), "the clock stops when one comes");
        let failure = match transition.workers.any_staying() {
            true => JobFailure::NoFit,
            false => JobFailure::NoWorkers,
        };
        self.end(id, Outcome::Failed(failure), transition);
    }
}
