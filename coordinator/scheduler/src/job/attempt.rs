//! The life of an attempt: it starts, makes progress, and succeeds, fails, stalls or is given up.
//! For its loss with its worker, see `loss`.

use windrow_model::{AttemptId, FailureCause, FailureClass, StageId, TaskId, WorkerId};

use crate::effect::{Effect, JobFailure};
use crate::event::{AttemptProgress, AttemptStats};
use crate::job::audit::ShuffleDigest;
use crate::job::blame::FailedOn;
use crate::job::death::Blame;
use crate::job::retry::charge;
use crate::job::stage::{Counted, TaskState};
use crate::job::{Job, JobResult, Phase};
use crate::quarantine;
use crate::time::Timer;
use crate::time::backoff::backoff;
use crate::transition::Transition;
use crate::view::SlowestTask;

/// When a task may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// At once: the cause is gone.
    Now,
    /// After a pause that grows with each failure.
    AfterPause,
}

impl Job {
    /// Starts the next attempt of a queued task on a worker with a free slot.
    pub(crate) fn start(
        &mut self,
        stage: StageId,
        index: u32,
        worker: WorkerId,
        transition: &mut Transition<'_>,
    ) {
        debug_assert_eq!(self.placeable(), Some(stage), "reduces start when all maps are done");
        let attempt = self.tasks_mut(stage).start(index, worker, transition.now);
        self.begin(attempt, worker, transition);
    }

    /// Begins an attempt whose number is drawn.
    pub(crate) fn begin(
        &mut self,
        attempt: AttemptId,
        worker: WorkerId,
        transition: &mut Transition<'_>,
    ) {
        debug_assert_eq!(self.phase, Phase::Running, "nothing starts once parts are final");
        debug_assert!(self.is_running(attempt, worker), "its number was drawn for this worker");
        self.holders.entry(worker).or_default();
        transition.workers.start(worker, attempt);
        self.assign(attempt, worker, transition);
        debug_assert!(
            transition.deadlines.get(Timer::Stalled(attempt)).is_some(),
            "every attempt has a timer, so that a silent one ends"
        );
    }

    /// Tells a worker to run an attempt. May be repeated.
    pub(crate) fn assign(
        &mut self,
        attempt: AttemptId,
        worker: WorkerId,
        transition: &mut Transition<'_>,
    ) {
        debug_assert_eq!(attempt.task.job, self.id, "a job assigns its own attempts");
        debug_assert_eq!(self.phase, Phase::Running, "a late assignment would write a part again");
        debug_assert!(
            transition.workers.get(worker).is_some_and(|it| !it.is_away()),
            "a worker that is away does not get the assignment"
        );
        debug_assert!(
            transition.workers.get(worker).is_some_and(|it| it.running.contains(&attempt)),
            "each attempt has a slot"
        );
        let outputs = (attempt.task.stage == StageId::REDUCE).then(|| self.map_outputs());
        debug_assert!(
            outputs.as_ref().is_none_or(|outputs| outputs.version == self.outputs_version),
            "a reducer reads the current map outputs"
        );
        if let Some(outputs) = &outputs
            && let Some(task) = self.reduce.get_mut(attempt.task.index)
            && let Some(running) = task.running_mut(attempt.number, worker)
        {
            running.outputs_version = outputs.version;
        }
        transition.deadlines.set(Timer::Stalled(attempt), transition.now + self.plan.task_timeout);
        let task = self.tasks(attempt.task.stage).task(attempt.task.index);
        let (alone, skip) = (task.charges().suspect, task.charges().poison.clone());
        transition.effects.push(Effect::Assign { worker, attempt, outputs, alone, skip });
    }

    /// Notes the progress that a heartbeat reports of an attempt. False when the attempt does not
    /// belong on that worker: it was given up, or never assigned.
    pub(crate) fn progress(
        &mut self,
        worker: WorkerId,
        progress: AttemptProgress,
        transition: &mut Transition<'_>,
    ) -> bool {
        let attempt = progress.attempt;
        let stalls_at = transition.now + self.plan.task_timeout;
        let tasks = self.tasks_mut(attempt.task.stage);
        if tasks.progress(worker, progress, transition.now) {
            transition.deadlines.set(Timer::Stalled(attempt), stalls_at);
            return true;
        }
        // The report that the attempt is done may overtake a heartbeat: the winner must not be
        // cancelled.
        self.wins(attempt, worker)
    }

    /// Handles the success of an attempt: it wins if it is still wanted.
    pub(crate) fn attempt_done(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        stats: &AttemptStats,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        if !self.is_running(attempt, worker) {
            return Ok(());
        }
        debug_assert_eq!(self.phase, Phase::Running, "nothing runs once parts are final");
        transition.deadlines.clear(Timer::Stalled(attempt));
        transition.workers.finish(worker, attempt);
        transition.workers.count_done(worker);
        quarantine::succeeded(worker, transition);
        self.forgive(worker, transition);
        let stage = attempt.task.stage;
        self.count_winner(worker, attempt, stats, transition);
        self.check_bad_records(stage, stats.skipped_example.as_deref())?;
        self.publish_if_done(transition)
    }

    /// Makes an attempt the winner of its task.
    fn count_winner(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        stats: &AttemptStats,
        transition: &mut Transition<'_>,
    ) {
        let TaskId { stage, index, .. } = attempt.task;
        let candidate = SlowestTask { task: attempt.task, elapsed: stats.elapsed, worker };
        if self.slowest.is_none_or(|slowest| slowest.elapsed < candidate.elapsed) {
            self.slowest = Some(candidate);
        }
        let winners = self.map.len().saturating_add(self.reduce.len());
        let counted = Counted::of(stats, self.counters.add(&stats.counters, winners));
        let is_for_reducers = stage == StageId::MAP && !self.is_map_only();
        if is_for_reducers {
            self.holders.entry(worker).or_default().keep(index);
        }
        let tasks = self.tasks_mut(stage);
        if let Some((other, its_worker)) = tasks.win(index, attempt.number, counted) {
            debug_assert_ne!(other, attempt, "the winner is not the loser");
            transition.deadlines.clear(Timer::Stalled(other));
            transition.workers.finish(its_worker, other);
            transition.effects.push(Effect::CancelAttempt { worker: its_worker, attempt: other });
        }
        let former = tasks.task_mut(index).written.replace(ShuffleDigest::of(stats));
        debug_assert!(
            transition.deadlines.get(Timer::Retry(attempt.task)).is_none(),
            "a task that is done has no retry timer"
        );
        self.set_slot_depth(stage, transition.config);
        if is_for_reducers {
            self.compare_with_former(index, former, ShuffleDigest::of(stats), transition);
        }
        if let Some(example) = &stats.skipped_example {
            self.tasks_mut(stage).skipped_example.get_or_insert_with(|| example.clone());
        }
    }

    /// Handles the failure of an attempt.
    pub(crate) fn attempt_failed(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        cause: FailureCause,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        if !self.is_running(attempt, worker) {
            return Ok(());
        }
        let stopped_on = self.stop(attempt, transition);
        debug_assert_eq!(
            stopped_on,
            Some(worker),
            "the worker that reports a failure ran the attempt"
        );
        debug_assert!(
            transition.workers.get(worker).is_some(),
            "evidence is dropped with the worker, so none is added after it"
        );
        self.tasks_mut(attempt.task.stage).failed += 1;
        transition.workers.count_failed(worker);
        quarantine::failed(worker, self.id, &cause, transition);
        if cause.class() == FailureClass::Attempt {
            self.hold_against(worker, attempt.task, transition);
        }
        self.check_attempt_alone(&cause)?;
        if self.note_death(attempt, &cause, transition)? == Blame::Record {
            self.try_without(attempt.task, transition);
            return Ok(());
        }
        let (again, avoid) = match (&cause, attempt.task.stage) {
            (FailureCause::FetchFailed { .. }, StageId::REDUCE) => {
                match self.fetch_failed(worker, &cause, transition)? {
                    // The output was at fault, not the reader.
                    Again::Now => {
                        let charges = self.reduce.task_mut(attempt.task.index).charges_mut();
                        charges.failed_on = FailedOn::nowhere();
                        charges.could_not_fetch_on = FailedOn::nowhere();
                        (Again::Now, None)
                    }
                    // Either the holder or the reader is at fault: another reader is better, but
                    // not worth waiting for.
                    Again::AfterPause => {
                        let charges = self.reduce.task_mut(attempt.task.index).charges_mut();
                        charges.could_not_fetch_on.add(worker);
                        (Again::AfterPause, None)
                    }
                }
            }
            // Neither the task nor the machine is known to be at fault.
            _ if cause.died_alone() == Some(false) => (Again::Now, None),
            _ if cause.class() == FailureClass::Infrastructure => (Again::Now, Some(worker)),
            _ => (Again::AfterPause, Some(worker)),
        };
        self.retry(attempt, cause, avoid, again, transition)
    }

    /// An attempt has made no progress for too long.
    pub(crate) fn attempt_stalled(
        &mut self,
        attempt: AttemptId,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        let Some(worker) = self.give_up(attempt, transition) else { return Ok(()) };
        self.tasks_mut(attempt.task.stage).failed += 1;
        transition.workers.count_failed(worker);
        self.hold_against(worker, attempt.task, transition);
        let cause = FailureCause::Timeout { after: self.plan.task_timeout };
        self.retry(attempt, cause, Some(worker), Again::AfterPause, transition)
    }

    /// Cancels a running attempt on a worker that still has a session.
    pub(crate) fn give_up(
        &mut self,
        attempt: AttemptId,
        transition: &mut Transition<'_>,
    ) -> Option<WorkerId> {
        let worker = self.stop(attempt, transition)?;
        debug_assert!(transition.workers.get(worker).is_some(), "a lost worker is told nothing");
        transition.effects.push(Effect::CancelAttempt { worker, attempt });
        Some(worker)
    }

    /// Ends a running attempt without success: its slot and its timer are freed, and its task waits
    /// unless another attempt of it runs.
    pub(crate) fn stop(
        &mut self,
        attempt: AttemptId,
        transition: &mut Transition<'_>,
    ) -> Option<WorkerId> {
        debug_assert!(
            transition.deadlines.get(Timer::Retry(attempt.task)).is_none(),
            "a task that runs has no retry timer"
        );
        let worker = self.tasks_mut(attempt.task.stage).stop(attempt.task.index, attempt.number)?;
        transition.deadlines.clear(Timer::Stalled(attempt));
        transition.workers.finish(worker, attempt);
        debug_assert!(
            !self.is_running(attempt, worker),
            "late reports of the attempt have no effect"
        );
        Some(worker)
    }

    /// Schedules the retry of a task that waits, or fails the job if the task has failed too often.
    /// `last` is the attempt that has ended.
    pub(crate) fn retry(
        &mut self,
        last: AttemptId,
        cause: FailureCause,
        avoid: Option<WorkerId>,
        again: Again,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        let id = last.task;
        let (max_attempts, progress) = (self.plan.max_attempts, self.progress_made());
        let tasks = self.tasks_mut(id.stage);
        let task = tasks.task_mut(id.index);
        debug_assert!(!matches!(task.state, TaskState::Done(_)), "a winner needs no retry");
        debug_assert!(
            last.number <= task.attempts,
            "only an attempt that was started can have ended"
        );
        avoid.into_iter().for_each(|worker| task.charges_mut().failed_on.add(worker));
        let Some(nth) = charge(task, &cause, max_attempts, progress, transition.config) else {
            let failure = JobFailure::Task { task: id, attempts: task.attempts, cause };
            return Err(Box::new(failure));
        };
        match again {
            Again::Now => tasks.enqueue_if_waiting(id.index),
            // Else another attempt of it runs.
            Again::AfterPause if matches!(task.state, TaskState::Waiting) => {
                let at = transition.now + backoff(nth, last, transition.config);
                transition.deadlines.set(Timer::Retry(id), at);
            }
            Again::AfterPause => {}
        }
        debug_assert!(
            !matches!(self.tasks(id.stage).task(id.index).state, TaskState::Waiting)
                || transition.deadlines.get(Timer::Retry(id)).is_some(),
            "a task that waits has a timer"
        );
        Ok(())
    }

    /// Whether the attempt would win if it reported success now, or has won already.
    pub(crate) fn wins(&mut self, attempt: AttemptId, worker: WorkerId) -> bool {
        let task = self.tasks_mut(attempt.task.stage).get_mut(attempt.task.index);
        task.is_some_and(|task| {
            task.running_mut(attempt.number, worker).is_some()
                || task.winner_mut(attempt.number, worker).is_some()
        })
    }

    fn is_running(&mut self, attempt: AttemptId, worker: WorkerId) -> bool {
        self.tasks_mut(attempt.task.stage)
            .get_mut(attempt.task.index)
            .is_some_and(|task| task.running_mut(attempt.number, worker).is_some())
    }
}
