//! The life of an attempt: it starts, makes progress, and succeeds, fails, stalls or is given up.
//! How it is lost with its worker is told in `loss`.

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
use crate::step::Step;
use crate::time::Timer;
use crate::time::backoff::backoff;
use crate::view::SlowestTask;

/// When a task that is to be tried again may be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// At once: whatever went wrong is not there any more.
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
        step: &mut Step<'_>,
    ) {
        debug_assert_eq!(self.placeable(), Some(stage), "reduces start when all maps are done");
        let attempt = self.tasks_mut(stage).start(index, worker, step.now);
        self.begin(attempt, worker, step);
    }

    /// An attempt begins, whose number is drawn.
    pub(crate) fn begin(&mut self, attempt: AttemptId, worker: WorkerId, step: &mut Step<'_>) {
        debug_assert_eq!(self.phase, Phase::Running, "nothing starts once parts are final");
        debug_assert!(self.is_running(attempt, worker), "its number was drawn for this worker");
        self.holders.entry(worker).or_default();
        step.workers.start(worker, attempt);
        self.assign(attempt, worker, step);
        debug_assert!(
            step.deadlines.get(Timer::Stalled(attempt)).is_some(),
            "an attempt that is never heard of must end"
        );
    }

    /// Tells a worker to run an attempt, which it may have been told before.
    pub(crate) fn assign(&mut self, attempt: AttemptId, worker: WorkerId, step: &mut Step<'_>) {
        debug_assert_eq!(attempt.task.job, self.id, "an attempt is its job's");
        debug_assert_eq!(self.phase, Phase::Running, "a late assignment would write a part again");
        debug_assert!(
            step.workers.get(worker).is_some_and(|it| !it.is_away()),
            "an assignment to somebody who is away is lost"
        );
        debug_assert!(
            step.workers.get(worker).is_some_and(|it| it.running.contains(&attempt)),
            "an attempt without a slot would share one with another"
        );
        let outputs = (attempt.task.stage == StageId::REDUCE).then(|| self.map_outputs());
        debug_assert!(
            outputs.as_ref().is_none_or(|outputs| outputs.version == self.outputs_version),
            "a reducer is told what is in force"
        );
        if let Some(outputs) = &outputs
            && let Some(task) = self.reduce.get_mut(attempt.task.index)
            && let Some(running) = task.running_mut(attempt.number, worker)
        {
            running.outputs_version = outputs.version;
        }
        step.deadlines.set(Timer::Stalled(attempt), step.now + self.plan.task_timeout);
        let task = self.tasks(attempt.task.stage).task(attempt.task.index);
        let (alone, skip) = (task.trouble().suspect, task.trouble().poison.clone());
        step.effects.push(Effect::Assign { worker, attempt, outputs, alone, skip });
    }

    /// Notes what a heartbeat says of an attempt. False when that attempt is not wanted there: it
    /// was given up, or never asked for.
    pub(crate) fn progress(
        &mut self,
        worker: WorkerId,
        progress: AttemptProgress,
        step: &mut Step<'_>,
    ) -> bool {
        let attempt = progress.attempt;
        let stalls_at = step.now + self.plan.task_timeout;
        let tasks = self.tasks_mut(attempt.task.stage);
        if tasks.progress(worker, progress, step.now) {
            step.deadlines.set(Timer::Stalled(attempt), stalls_at);
            return true;
        }
        // A heartbeat may be overtaken by the report that the attempt is done: the winner must not
        // be cancelled.
        self.wins(attempt, worker)
    }

    /// An attempt says that it has succeeded: if it is still wanted, it wins.
    pub(crate) fn attempt_done(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        stats: &AttemptStats,
        step: &mut Step<'_>,
    ) -> JobResult {
        if !self.is_running(attempt, worker) {
            return Ok(());
        }
        debug_assert_eq!(self.phase, Phase::Running, "when parts are final, nothing runs");
        step.deadlines.clear(Timer::Stalled(attempt));
        step.workers.finish(worker, attempt);
        step.workers.count_done(worker);
        quarantine::succeeded(worker, step);
        self.forgive(worker, step);
        let stage = attempt.task.stage;
        self.count_winner(worker, attempt, stats, step);
        self.check_bad_records(stage, stats.skipped_example.as_deref())?;
        self.publish_if_done(step)
    }

    /// An attempt wins.
    fn count_winner(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        stats: &AttemptStats,
        step: &mut Step<'_>,
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
            debug_assert_ne!(other, attempt, "the winner is not overtaken");
            step.deadlines.clear(Timer::Stalled(other));
            step.workers.finish(its_worker, other);
            step.effects.push(Effect::CancelAttempt { worker: its_worker, attempt: other });
        }
        let former = tasks.task_mut(index).written.replace(ShuffleDigest::of(stats));
        debug_assert!(
            step.deadlines.get(Timer::Retry(attempt.task)).is_none(),
            "a task that is done is not tried again"
        );
        self.set_pace(stage, step.config);
        if is_for_reducers {
            self.compare_with_former(index, former, ShuffleDigest::of(stats), step);
        }
        if let Some(example) = &stats.skipped_example {
            self.tasks_mut(stage).skipped_example.get_or_insert_with(|| example.clone());
        }
    }

    /// An attempt says that it has failed.
    pub(crate) fn attempt_failed(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        cause: FailureCause,
        step: &mut Step<'_>,
    ) -> JobResult {
        if !self.is_running(attempt, worker) {
            return Ok(());
        }
        let stopped_on = self.stop(attempt, step);
        debug_assert_eq!(stopped_on, Some(worker), "who reports a failure ran it");
        debug_assert!(
            step.workers.get(worker).is_some(),
            "what is held against somebody who is gone is never forgotten"
        );
        self.tasks_mut(attempt.task.stage).failed += 1;
        step.workers.count_failed(worker);
        quarantine::failed(worker, self.id, &cause, step);
        if cause.class() == FailureClass::Attempt {
            self.hold_against(worker, attempt.task, step);
        }
        self.check_attempt_alone(&cause)?;
        if self.note_death(attempt, &cause, step)? == Blame::Record {
            self.try_without(attempt.task, step);
            return Ok(());
        }
        let (again, avoid) = match (&cause, attempt.task.stage) {
            (FailureCause::FetchFailed { .. }, StageId::REDUCE) => {
                match self.fetch_failed(worker, &cause, step)? {
                    // The output was to blame, not the way to it from wherever it was tried.
                    Again::Now => {
                        let trouble = self.reduce.task_mut(attempt.task.index).trouble_mut();
                        trouble.failed_on = FailedOn::nowhere();
                        trouble.could_not_fetch_on = FailedOn::nowhere();
                        (Again::Now, None)
                    }
                    // Holder or reader, nobody knows: another reader is better, but not worth
                    // waiting for.
                    Again::AfterPause => {
                        let trouble = self.reduce.task_mut(attempt.task.index).trouble_mut();
                        trouble.could_not_fetch_on.add(worker);
                        (Again::AfterPause, None)
                    }
                }
            }
            // Neither the task nor the machine is known to be to blame.
            _ if cause.died_alone() == Some(false) => (Again::Now, None),
            _ if cause.class() == FailureClass::Infrastructure => (Again::Now, Some(worker)),
            _ => (Again::AfterPause, Some(worker)),
        };
        self.retry(attempt, cause, avoid, again, step)
    }

    /// An attempt has made no progress for too long.
    pub(crate) fn attempt_stalled(&mut self, attempt: AttemptId, step: &mut Step<'_>) -> JobResult {
        let Some(worker) = self.give_up(attempt, step) else { return Ok(()) };
        self.tasks_mut(attempt.task.stage).failed += 1;
        step.workers.count_failed(worker);
        self.hold_against(worker, attempt.task, step);
        let cause = FailureCause::Timeout { after: self.plan.task_timeout };
        self.retry(attempt, cause, Some(worker), Again::AfterPause, step)
    }

    /// Stops a running attempt whose worker is still there, and tells it so.
    pub(crate) fn give_up(&mut self, attempt: AttemptId, step: &mut Step<'_>) -> Option<WorkerId> {
        let worker = self.stop(attempt, step)?;
        debug_assert!(step.workers.get(worker).is_some(), "with a lost worker nobody is told");
        step.effects.push(Effect::CancelAttempt { worker, attempt });
        Some(worker)
    }

    /// Ends a running attempt without success: its slot and its timer are free, and its task waits,
    /// unless another attempt of it runs.
    pub(crate) fn stop(&mut self, attempt: AttemptId, step: &mut Step<'_>) -> Option<WorkerId> {
        debug_assert!(
            step.deadlines.get(Timer::Retry(attempt.task)).is_none(),
            "a task that runs does not wait for its retry"
        );
        let worker = self.tasks_mut(attempt.task.stage).stop(attempt.task.index, attempt.number)?;
        step.deadlines.clear(Timer::Stalled(attempt));
        step.workers.finish(worker, attempt);
        debug_assert!(!self.is_running(attempt, worker), "late reports of it find nothing");
        Some(worker)
    }

    /// Sees to it that a task is tried again if it waits, unless it has failed too often: then the
    /// job fails. `last` is the attempt that is over.
    pub(crate) fn retry(
        &mut self,
        last: AttemptId,
        cause: FailureCause,
        avoid: Option<WorkerId>,
        again: Again,
        step: &mut Step<'_>,
    ) -> JobResult {
        let id = last.task;
        let (max_attempts, progress) = (self.plan.max_attempts, self.progress_made());
        let tasks = self.tasks_mut(id.stage);
        let task = tasks.task_mut(id.index);
        debug_assert!(!matches!(task.state, TaskState::Done(_)), "a winner needs no retry");
        debug_assert!(last.number <= task.attempts, "only what was started can be over");
        avoid.into_iter().for_each(|worker| task.trouble_mut().failed_on.add(worker));
        let Some(nth) = charge(task, &cause, max_attempts, progress, step.config) else {
            let failure = JobFailure::Task { task: id, attempts: task.attempts, cause };
            return Err(Box::new(failure));
        };
        match again {
            Again::Now => tasks.enqueue_if_waiting(id.index),
            // Else another attempt of it runs.
            Again::AfterPause if matches!(task.state, TaskState::Waiting) => {
                let at = step.now + backoff(nth, last, step.config);
                step.deadlines.set(Timer::Retry(id), at);
            }
            Again::AfterPause => {}
        }
        debug_assert!(
            !matches!(self.tasks(id.stage).task(id.index).state, TaskState::Waiting)
                || step.deadlines.get(Timer::Retry(id)).is_some(),
            "what waits is woken"
        );
        Ok(())
    }

    /// Whether the attempt wins if it says now that it has succeeded, or has won before.
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
