//! The life of an attempt: it starts, makes progress, and succeeds, fails, stalls or is given up.
//! For its loss with its worker, see `loss`.

use windrow_model::{AttemptId, FailureCause, FailureClass, StageId, TaskId, WorkerId};

use crate::effect::{Effect, JobFailure};
use crate::event::{AttemptProgress, AttemptStats};
use crate::job::blame::Blame;
use crate::job::stage::{AttemptEnd, Counted, ShuffleDigest, Task, TaskState, Won};
use crate::job::{Job, JobResult};
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
        debug_assert_eq!(self.placeable(), Some(stage), "its inputs are complete");
        let tasks = self.stages[stage].tasks_mut();
        let attempt = tasks.start(index, worker, transition.now);
        self.begin(attempt, worker, transition);
    }

    /// Starts a backup of the task's running attempt.
    pub(crate) fn back_up(
        &mut self,
        task: TaskId,
        worker: WorkerId,
        transition: &mut Transition<'_>,
    ) {
        let tasks = self.stages[task.stage].tasks_mut();
        let attempt = tasks.back_up(task.index, worker, transition.now);
        self.begin(attempt, worker, transition);
    }

    /// Begins an attempt whose number is drawn.
    fn begin(&mut self, attempt: AttemptId, worker: WorkerId, transition: &mut Transition<'_>) {
        debug_assert!(self.phase.is_running(), "nothing starts once parts are final");
        debug_assert!(self.is_running(attempt, worker), "its number was drawn for this worker");
        self.workers.insert(worker);
        transition.workers.start(worker, attempt);
        self.assign(attempt, worker, transition);
        debug_assert!(
            transition.deadlines.get(Timer::Stalled(attempt)).is_some(),
            "every attempt has a timer, so that a silent one ends"
        );
    }

    /// Tells a worker to run an attempt. May be repeated.
    pub(super) fn assign(
        &mut self,
        attempt: AttemptId,
        worker: WorkerId,
        transition: &mut Transition<'_>,
    ) {
        debug_assert_eq!(attempt.task.job, self.id, "a job assigns its own attempts");
        debug_assert!(self.phase.is_running(), "a late assignment would write a part again");
        debug_assert!(
            transition.workers.get(worker).is_some_and(|it| !it.is_away()),
            "a worker that is away does not get the assignment"
        );
        debug_assert!(
            transition.workers.get(worker).is_some_and(|it| it.running.contains(&attempt)),
            "each attempt has a slot"
        );
        let TaskId { stage, index, .. } = attempt.task;
        let outputs = self.inputs_of(stage);
        let tasks = self.stages[stage].tasks_mut();
        if let Some(outputs) = &outputs {
            tasks.note_inputs_version(index, attempt.number, worker, outputs.version);
        }
        transition.deadlines.set(Timer::Stalled(attempt), transition.now + self.plan.task_timeout);
        let charges = tasks.task(index).charges();
        let (alone, skip) = (charges.is_suspect(), charges.poison().to_vec());
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
        let Some(stage) = self.stages.get_mut(attempt.task.stage) else { return false };
        if stage.tasks_mut().progress(worker, progress, transition.now) {
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
        debug_assert!(self.phase.is_running(), "nothing runs once parts are final");
        transition.deadlines.clear(Timer::Stalled(attempt));
        transition.workers.finish(worker, attempt);
        transition.workers.count_done(worker);
        quarantine::succeeded(worker, transition);
        self.avoidance.forgive(worker, self.id, transition);
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
        let winners = self.stages.iter().map(|stage| stage.tasks().len());
        let winners = winners.fold(0, u32::saturating_add);
        let counted = Counted::of(stats, self.counters.add(&stats.counters, winners));
        let written = ShuffleDigest::of(stats);
        let won = self.stages[stage].win(attempt, worker, counted, written, transition.config);
        debug_assert!(won.is_some(), "the attempt runs");
        let Some(Won { loser, former }) = won else { return };
        if let Some((other, its_worker)) = loser {
            debug_assert_ne!(other, attempt, "the winner is not the loser");
            transition.deadlines.clear(Timer::Stalled(other));
            transition.workers.finish(its_worker, other);
            transition.effects.push(Effect::CancelAttempt { worker: its_worker, attempt: other });
        }
        debug_assert!(
            transition.deadlines.get(Timer::Retry(attempt.task)).is_none(),
            "a task that is done has no retry timer"
        );
        if let Some(former) = former {
            self.compare_with_former(stage, index, former, written, transition);
        }
        if let Some(example) = &stats.skipped_example {
            self.stages[stage].tasks_mut().note_skipped(example);
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
        let stopped_on = self.stop(attempt, AttemptEnd::Failed, transition);
        debug_assert_eq!(
            stopped_on,
            Some(worker),
            "the worker that reports a failure ran the attempt"
        );
        debug_assert!(
            transition.workers.get(worker).is_some(),
            "evidence is dropped with the worker, so none is added after it"
        );
        transition.workers.count_failed(worker);
        quarantine::failed(worker, self.id, &cause, transition);
        if cause.class() == FailureClass::Attempt {
            self.avoidance.hold_against(worker, self.id, attempt.task, transition);
        }
        self.check_attempt_alone(&cause)?;
        if self.note_death(attempt, &cause, transition)? == Blame::Record {
            self.try_without(attempt.task, transition);
            return Ok(());
        }
        let TaskId { stage, index, .. } = attempt.task;
        let (again, avoid) = match (&cause, self.stages[stage].waits_for()) {
            (FailureCause::FetchFailed { .. }, Some(before)) => {
                let again = self.fetch_failed(before, worker, &cause, transition)?;
                let charges = self.stages[stage].tasks_mut().charges_mut(index);
                match again {
                    Again::Now => charges.inputs_were_at_fault(),
                    // Either the holder or the reader is at fault: another reader is better, but
                    // not worth waiting for.
                    Again::AfterPause => charges.note_could_not_fetch_on(worker),
                }
                (again, None)
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
        let Some(worker) = self.give_up(attempt, AttemptEnd::Failed, transition) else {
            return Ok(());
        };
        transition.workers.count_failed(worker);
        self.avoidance.hold_against(worker, self.id, attempt.task, transition);
        let cause = FailureCause::Timeout { after: self.plan.task_timeout };
        self.retry(attempt, cause, Some(worker), Again::AfterPause, transition)
    }

    /// Cancels a running attempt on a worker that still has a session.
    pub(super) fn give_up(
        &mut self,
        attempt: AttemptId,
        end: AttemptEnd,
        transition: &mut Transition<'_>,
    ) -> Option<WorkerId> {
        let worker = self.stop(attempt, end, transition)?;
        debug_assert!(transition.workers.get(worker).is_some(), "a lost worker is told nothing");
        transition.effects.push(Effect::CancelAttempt { worker, attempt });
        Some(worker)
    }

    /// Ends a running attempt without success: its slot and its timer are freed, and its task waits
    /// unless another attempt of it runs.
    pub(super) fn stop(
        &mut self,
        attempt: AttemptId,
        end: AttemptEnd,
        transition: &mut Transition<'_>,
    ) -> Option<WorkerId> {
        debug_assert!(
            transition.deadlines.get(Timer::Retry(attempt.task)).is_none(),
            "a task that runs has no retry timer"
        );
        let tasks = self.stages[attempt.task.stage].tasks_mut();
        let worker = tasks.stop(attempt.task.index, attempt.number, end)?;
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
    pub(super) fn retry(
        &mut self,
        last: AttemptId,
        cause: FailureCause,
        avoid: Option<WorkerId>,
        again: Again,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        let id = last.task;
        let (max_attempts, progress) = (self.plan.max_attempts, self.progress_made());
        let tasks = self.stages[id.stage].tasks_mut();
        let attempts = tasks.task(id.index).attempts();
        debug_assert!(last.number <= attempts, "only an attempt that was started can have ended");
        let charges = tasks.charges_mut(id.index);
        avoid.into_iter().for_each(|worker| charges.note_failed_on(worker));
        let Some(nth) = charges.charge(&cause, max_attempts, progress, transition.config) else {
            return Err(Box::new(JobFailure::Task { task: id, attempts, cause }));
        };
        let state = tasks.task(id.index).state();
        debug_assert!(!matches!(state, TaskState::Done(_)), "a winner needs no retry");
        match again {
            Again::Now => tasks.enqueue_if_waiting(id.index),
            // Else another attempt of it runs.
            Again::AfterPause if matches!(state, TaskState::Waiting) => {
                let at = transition.now + backoff(nth, last, transition.config);
                transition.deadlines.set(Timer::Retry(id), at);
            }
            Again::AfterPause => {}
        }
        debug_assert!(
            !matches!(self.stages[id.stage].tasks().task(id.index).state(), TaskState::Waiting)
                || transition.deadlines.get(Timer::Retry(id)).is_some(),
            "a task that waits has a timer"
        );
        Ok(())
    }

    /// Whether the attempt would win if it reported success now, or has won already.
    pub(crate) fn wins(&self, attempt: AttemptId, worker: WorkerId) -> bool {
        let has_won = |task: &Task| task.was_won_by(attempt.number, worker);
        self.is_running(attempt, worker) || self.task(attempt.task).is_some_and(has_won)
    }

    fn is_running(&self, attempt: AttemptId, worker: WorkerId) -> bool {
        self.task(attempt.task).is_some_and(|task| task.runs(attempt.number, worker))
    }

    /// A task that a message names, if it exists.
    fn task(&self, id: TaskId) -> Option<&Task> {
        self.stages.get(id.stage)?.tasks().get(id.index)
    }
}
