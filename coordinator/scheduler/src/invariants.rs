//! The invariants between two calls, checked from scratch. For tests: a check is a pass over all
//! tasks.

use std::collections::{BTreeMap, BTreeSet};

use windrow_model::{AttemptId, PlatformNeeds, StageId, WorkerId};

use crate::job::Job;
use crate::job::stage::{Outputs, Queue, Stage, TaskState, Tasks, Totals};
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
            for stage in job.stages().iter() {
                check_tasks(stage.tasks(), job.phase().is_running());
            }
            check_outputs(job, &self.workers);
            check_counters(job);
        }
        let mut submitters = BTreeMap::new();
        for job in self.jobs.running() {
            *submitters.entry(job.plan().submitter).or_default() += 1;
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
        let is_running = job.phase().is_running();
        for tasks in job.stages().iter().map(Stage::tasks) {
            for (index, task) in (0..).zip(tasks.iter()) {
                let id = tasks.id(index);
                if matches!(task.state(), TaskState::Waiting) && is_running {
                    assert!(self.deadlines.get(Timer::Retry(id)).is_some(), "{id} waits for ever");
                    timers += 1;
                }
            }
            for (attempt, _) in tasks.running_attempts() {
                assert!(self.deadlines.get(Timer::Stalled(attempt)).is_some(), "{attempt}");
                timers += 1;
            }
        }
        let id = job.id();
        for &worker in job.avoided() {
            if is_running {
                let clock = self.deadlines.get(Timer::Avoided(id, worker));
                assert!(clock.is_some(), "{id} avoids {worker} for ever");
                timers += 1;
            }
        }
        let publishes_again = self.deadlines.get(Timer::Publish(id)).is_some();
        let failed = job.phase().has_failed();
        assert!(failed || !publishes_again, "{id} waits to be published for no reason");
        timers += usize::from(publishes_again);
        let waits = is_running && !job.has_workers(&self.workers);
        let clock = self.deadlines.get(Timer::NoWorkers(id)).is_some();
        assert_eq!(clock, waits, "{id} waits for workers");
        timers + usize::from(waits)
    }

    fn check_nothing_waits_for_nothing(&self) {
        for job in self.jobs.running() {
            let free = job
                .placeable()
                .is_some_and(|stage| could_place(job, stage, SlotDepth::One, &self.workers));
            assert!(!free, "{} has a task queued while a slot is free", job.id());
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
    let attempts = job.stages().iter().flat_map(|stage| stage.tasks().running_attempts());
    attempts.map(|(attempt, running)| (running.worker, attempt))
}

fn check_tasks(tasks: &Tasks, is_running: bool) {
    let (mut running, mut done, mut attempts) = (0, 0, 0);
    let mut queue = Queue::default();
    let mut totals = Totals::new(tasks.totals().unit());
    for (index, task) in (0..).zip(tasks.iter()) {
        attempts += task.attempts();
        match task.state() {
            TaskState::Waiting => {}
            TaskState::Queued => queue.insert(index, task.charges().is_suspect()),
            TaskState::Running(race) => {
                running += race.iter().count() as u32;
                totals.count(&race.first);
            }
            TaskState::Done(winner) => {
                done += 1;
                totals.add(&winner.counted);
            }
        }
    }
    assert_eq!(&queue, tasks.queue());
    let counts = tasks.counts();
    assert_eq!((running, done), (counts.running, counts.done));
    assert_eq!(attempts, counts.attempts);
    assert_eq!(&totals, tasks.totals());
    if is_running {
        // When publishing begins, running attempts are cancelled: they count neither as failed nor
        // as lost.
        assert_eq!(
            attempts,
            running + done + counts.failed + counts.lost + counts.overtaken,
            "each attempt has one end"
        );
    }
}

fn check_outputs(job: &Job, workers: &Workers) {
    for &worker in job.workers() {
        assert!(workers.get(worker).is_some(), "{worker} holds data without a session");
    }
    for stage in job.stages().iter().filter(|stage| job.needs_outputs(stage)) {
        let mut held = BTreeMap::<WorkerId, BTreeSet<u32>>::new();
        for (attempt, winner) in stage.tasks().winners() {
            held.entry(winner.worker).or_default().insert(attempt.task.index);
        }
        let holders = stage.outputs().into_iter().flat_map(Outputs::holders);
        let listed: BTreeMap<_, _> = holders.map(|(worker, held)| (worker, held.clone())).collect();
        assert_eq!(listed, held, "outputs of {}", stage.id());
        let all: BTreeSet<_> = held.into_keys().collect();
        assert!(all.is_subset(job.workers()), "a holder has data of the job");
    }
    if !job.phase().is_running() {
        assert!(job.stages().output_tasks().all_done() && job.running() == 0);
    }
}

fn check_counters(job: &Job) {
    let mut rest = job.counters().clone();
    for (_, winner) in job.stages().iter().flat_map(|stage| stage.tasks().winners()) {
        rest.subtract(&winner.counted.counters);
    }
    assert!(rest.counters().iter().all(|(_, n)| n == 0), "{}: {rest:?} is nobody's", job.id());
}
