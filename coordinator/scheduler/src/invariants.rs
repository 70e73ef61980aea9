//! The invariants between two calls, checked from scratch. For tests: a check is a pass over all
//! tasks.

use std::collections::{BTreeMap, BTreeSet};

use windrow_model::{AttemptId, PlatformNeeds, StageId, WorkerId};

use crate::job::stage::{Queue, TaskState, Tasks, Totals};
use crate::job::{Job, Phase};
use crate::placement::could_place;
use crate::scheduler::Scheduler;
use crate::time::Timer;
use crate::worker::{Leaving, SLOT_DEPTHS, SlotDepth, Workers};

impl Scheduler {
    /// Checks all invariants between two calls: queues, slots, timers and sums agree with the
    /// states of the tasks. Meant for tests: O(tasks).
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub fn check_invariants(&self) {
        let mut running = BTreeMap::<WorkerId, BTreeSet<AttemptId>>::new();
        let mut timers = self.workers.iter().count();
        for identity in self.workers.quarantined() {
            let clock = self.deadlines.get(Timer::Quarantine(identity));
            assert!(clock.is_some(), "the quarantine of {identity} never ends");
            timers += 1;
        }
        for job in self.jobs.running() {
            for (worker, attempt) in running_attempts(job) {
                running.entry(worker).or_default().insert(attempt);
            }
            timers += self.check_timers(job);
            check_tasks(&job.map, job.phase);
            check_tasks(&job.reduce, job.phase);
            check_outputs(job, &self.workers);
            check_counters(job);
        }
        let mut submitters = BTreeMap::new();
        for job in self.jobs.running() {
            *submitters.entry(job.plan.submitter).or_default() += 1;
        }
        assert_eq!(self.jobs.submitters().jobs(), submitters, "jobs by submitter");
        for (id, worker) in self.workers.iter() {
            assert!(self.deadlines.get(Timer::Lease(id)).is_some(), "{id} has no lease");
            let attempts = running.remove(&id).unwrap_or_default();
            assert_eq!(worker.running, attempts, "{id} runs what the tasks say");
            for stage in StageId::ALL {
                let needs = PlatformNeeds::default();
                for depth in SLOT_DEPTHS {
                    let mut free = self.workers.free(stage, depth, &needs);
                    let listed = free.any(|(free, _)| free == id);
                    assert_eq!(listed, worker.takes(stage, depth), "slots of {id} for {stage}");
                }
            }
        }
        assert!(running.is_empty(), "attempts run on workers without a session: {running:?}");
        assert_eq!(self.deadlines.len(), timers, "every timer has its purpose");
        self.check_nothing_waits_for_nothing();
    }

    fn check_timers(&self, job: &Job) -> usize {
        let mut timers = 0;
        for tasks in [&job.map, &job.reduce] {
            for (index, task) in (0..).zip(tasks.iter()) {
                let id = tasks.id(index);
                if matches!(task.state, TaskState::Waiting) && job.phase == Phase::Running {
                    assert!(self.deadlines.get(Timer::Retry(id)).is_some(), "{id} waits for ever");
                    timers += 1;
                }
            }
            for (attempt, _) in tasks.running_attempts() {
                assert!(self.deadlines.get(Timer::Stalled(attempt)).is_some(), "{attempt}");
                timers += 1;
            }
        }
        for &worker in job.avoidance.avoided() {
            if job.phase == Phase::Running {
                let clock = self.deadlines.get(Timer::Avoided(job.id, worker));
                assert!(clock.is_some(), "{} avoids {worker} for ever", job.id);
                timers += 1;
            }
        }
        let publishes_again = self.deadlines.get(Timer::Publish(job.id)).is_some();
        let failed = job.phase == Phase::Publishing && job.publication.is_some();
        assert!(failed || !publishes_again, "{} waits to be published for no reason", job.id);
        timers += usize::from(publishes_again);
        let waits = job.phase == Phase::Running && !job.has_workers(&self.workers);
        let clock = self.deadlines.get(Timer::NoWorkers(job.id)).is_some();
        assert_eq!(clock, waits, "{} waits for workers", job.id);
        timers + usize::from(waits)
    }

    fn check_nothing_waits_for_nothing(&self) {
        for job in self.jobs.running() {
            let free = job
                .placeable()
                .is_some_and(|stage| could_place(job, stage, SlotDepth::One, &self.workers));
            assert!(!free, "{} has a task queued while a slot is free", job.id);
        }
        for worker in self.workers.idle_draining() {
            let needed = self.jobs.running().any(|job| job.needs_worker(worker));
            assert!(needed, "{worker} could go");
        }
        let staying = self.workers.iter().any(|(_, worker)| worker.leaving == Leaving::No);
        assert_eq!(staying, self.workers.any_staying());
    }
}

fn running_attempts(job: &Job) -> impl Iterator<Item = (WorkerId, AttemptId)> {
    let attempts = [&job.map, &job.reduce].into_iter().flat_map(Tasks::running_attempts);
    attempts.map(|(attempt, running)| (running.worker, attempt))
}

fn check_tasks(tasks: &Tasks, phase: Phase) {
    let (mut running, mut done, mut attempts) = (0, 0, 0);
    let mut queue = Queue::default();
    let mut totals = Totals::default();
    for (index, task) in (0..).zip(tasks.iter()) {
        attempts += task.attempts;
        match &task.state {
            TaskState::Waiting => {}
            TaskState::Queued => queue.insert(index, task.charges().suspect),
            TaskState::Running(race) => {
                running += race.iter().count() as u32;
                totals.count(&race.first);
            }
            TaskState::Done(winner) => {
                done += 1;
                totals.add(&winner.counted, tasks.id(index).stage);
            }
        }
    }
    assert_eq!(&queue, tasks.queue());
    assert_eq!((running, done), (tasks.running, tasks.done));
    assert_eq!(attempts, tasks.attempts);
    assert_eq!(totals, tasks.totals);
    if phase == Phase::Running {
        // When publishing begins, running attempts are cancelled: they count neither as failed nor
        // as lost.
        assert_eq!(
            attempts,
            running + done + tasks.failed + tasks.lost + tasks.overtaken,
            "each attempt has one end"
        );
    }
}

fn check_outputs(job: &Job, workers: &Workers) {
    let mut held = BTreeMap::<WorkerId, BTreeSet<u32>>::new();
    if job.needs_map_outputs() {
        for (attempt, winner) in job.map.winners() {
            held.entry(winner.worker).or_default().insert(attempt.task.index);
        }
    }
    for (&worker, holder) in &job.holders {
        assert!(workers.get(worker).is_some(), "{worker} holds outputs without a session");
        if job.needs_map_outputs() {
            let outputs = held.remove(&worker).unwrap_or_default();
            assert_eq!(&outputs, holder.outputs(), "outputs on {worker}");
        }
    }
    assert!(held.is_empty(), "outputs on workers without a session: {held:?}");
    if job.phase == Phase::Publishing {
        assert!(job.output_tasks().all_done() && job.running() == 0);
    }
}

fn check_counters(job: &Job) {
    let mut rest = job.counters.clone();
    for (_, winner) in job.map.winners().chain(job.reduce.winners()) {
        rest.subtract(&winner.counted.counters);
    }
    assert!(rest.counters().iter().all(|(_, n)| n == 0), "{}: {rest:?} is nobody's", job.id);
}
