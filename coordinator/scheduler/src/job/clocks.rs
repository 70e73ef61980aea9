//! The deadlines of one job: when they start, start anew, and stop.

use windrow_model::{AttemptId, StageId};

use super::stage::TaskState;
use super::{Job, Phase};
use crate::step::Step;
use crate::time::Timer;
use crate::worker::Workers;

impl Job {
    /// Whether a worker is there, and stays, that can run it.
    pub(crate) fn has_workers(&self, workers: &Workers) -> bool {
        workers.any_staying_for(&self.plan.needs)
    }

    /// Starts the clock of a job that nobody can run, unless it goes already, or stops it.
    pub(crate) fn look_for_workers(&self, step: &mut Step<'_>) {
        if self.has_workers(step.workers) {
            step.deadlines.clear(Timer::NoWorkers(self.id));
        } else if step.deadlines.get(Timer::NoWorkers(self.id)).is_none() {
            self.start_worker_clock_anew(step);
        }
    }

    /// Has the job wait as long as it wants to from now on, if nobody can run it.
    pub(crate) fn start_worker_clock_anew(&self, step: &mut Step<'_>) {
        if self.phase == Phase::Running && !self.has_workers(step.workers) {
            step.deadlines.set(Timer::NoWorkers(self.id), step.now + self.plan.worker_wait);
        }
    }

    /// Another coordinator decides from here on: what was waited for is waited for anew.
    pub(crate) fn start_clocks_anew(&mut self, step: &mut Step<'_>) {
        let stalls_at = step.now + self.plan.task_timeout;
        for stage in StageId::ALL {
            let tasks = self.tasks_mut(stage);
            tasks.forget_progress(step.now);
            for (attempt, _) in tasks.running_attempts() {
                step.deadlines.set(Timer::Stalled(attempt), stalls_at);
            }
        }
        self.start_worker_clock_anew(step);
    }

    /// Cancels what runs, and stops all timers of the job.
    pub(crate) fn stop_all(&mut self, step: &mut Step<'_>) {
        step.deadlines.clear(Timer::NoWorkers(self.id));
        step.deadlines.clear(Timer::Publish(self.id));
        for &worker in self.avoidance.avoided() {
            step.deadlines.clear(Timer::Avoided(self.id, worker));
        }
        for stage in StageId::ALL {
            for index in 0..self.tasks(stage).len() {
                let task = self.tasks(stage).task(index);
                let task_id = self.tasks(stage).id(index);
                match &task.state {
                    TaskState::Running(race) => {
                        let numbers: Vec<_> = race.iter().map(|running| running.number).collect();
                        for number in numbers {
                            self.give_up(AttemptId { task: task_id, number }, step);
                        }
                    }
                    TaskState::Waiting => step.deadlines.clear(Timer::Retry(task_id)),
                    TaskState::Queued | TaskState::Done(_) => {}
                }
            }
        }
        debug_assert!(
            step.deadlines.get(Timer::NoWorkers(self.id)).is_none()
                && step.deadlines.get(Timer::Publish(self.id)).is_none(),
            "a timer must not go off for a job that has stopped"
        );
    }
}
