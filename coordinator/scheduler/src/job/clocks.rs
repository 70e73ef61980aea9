//! The deadlines of one job: when they start, restart and stop.

use windrow_model::AttemptId;

use crate::job::Job;
use crate::job::stage::{AttemptEnd, TaskState};
use crate::time::Timer;
use crate::transition::Transition;
use crate::worker::Workers;

impl Job {
    /// Whether a worker that stays can run the job.
    pub(crate) fn has_workers(&self, workers: &Workers) -> bool {
        workers.any_staying_for(&self.plan.needs)
    }

    /// Starts the clock of a job that no worker can run, unless it runs already; stops it
    /// otherwise.
    pub(crate) fn look_for_workers(&self, transition: &mut Transition<'_>) {
        if self.has_workers(transition.workers) {
            transition.deadlines.clear(Timer::NoWorkers(self.id));
        } else if transition.deadlines.get(Timer::NoWorkers(self.id)).is_none() {
            self.start_worker_clock_anew(transition);
        }
    }

    /// Restarts the job's wait for a worker, if none can run it.
    pub(crate) fn start_worker_clock_anew(&self, transition: &mut Transition<'_>) {
        if self.phase.is_running() && !self.has_workers(transition.workers) {
            transition
                .deadlines
                .set(Timer::NoWorkers(self.id), transition.now + self.plan.worker_wait);
        }
    }

    /// Restarts all clocks of the job after a takeover.
    pub(crate) fn start_clocks_anew(&mut self, transition: &mut Transition<'_>) {
        let stalls_at = transition.now + self.plan.task_timeout;
        for stage in self.stages.iter_mut() {
            let tasks = stage.tasks_mut();
            tasks.forget_progress(transition.now);
            for (attempt, _) in tasks.running_attempts() {
                transition.deadlines.set(Timer::Stalled(attempt), stalls_at);
            }
        }
        self.start_worker_clock_anew(transition);
    }

    /// Cancels all attempts and stops all timers of the job.
    pub(crate) fn stop_all(&mut self, transition: &mut Transition<'_>) {
        transition.deadlines.clear(Timer::NoWorkers(self.id));
        transition.deadlines.clear(Timer::Publish(self.id));
        self.avoidance.stop_timers(self.id, transition);
        for stage in self.stages.ids() {
            for index in 0..self.stages[stage].tasks().len() {
                let tasks = self.stages[stage].tasks();
                let task_id = tasks.id(index);
                match tasks.task(index).state() {
                    TaskState::Running(race) => {
                        let numbers: Vec<_> = race.iter().map(|running| running.number).collect();
                        for number in numbers {
                            let attempt = AttemptId { task: task_id, number };
                            self.give_up(attempt, AttemptEnd::WithJob, transition);
                        }
                    }
                    TaskState::Waiting => transition.deadlines.clear(Timer::Retry(task_id)),
                    TaskState::Queued | TaskState::Done(_) => {}
                }
            }
        }
        debug_assert!(
            transition.deadlines.get(Timer::NoWorkers(self.id)).is_none()
                && transition.deadlines.get(Timer::Publish(self.id)).is_none(),
            "a job that has stopped has no timers"
        );
    }
}
