//! Workers on which tasks of one job fail: a missing library, bad memory, or a disk that only this
//! job uses.
//!
//! The evidence comes from this job alone, and its code may be at fault as well as the machine. So
//! it counts for this job only, and only in the choice of workers: a task does not return to a
//! worker on which it failed, and the whole job avoids a worker on which several of its tasks have
//! failed, as long as other workers could run them, busy or not (as Hadoop does, with
//! `mapreduce.job.maxtaskfailures.per.tracker`). A bad machine thus costs a task one attempt, and
//! the job a few tasks. If all workers would be avoided, none is: the fault is likely the job's.
//! After the time that a quarantine would take, one more task shows whether the worker has
//! recovered.
//!
//! In simulation, where each process dies on one of ten machines, 18 of 100 jobs fail without
//! `FailedOn`, and all without `Avoidance` either, which saves three of four wasted attempts
//! (docs/decisions/scheduling.md).
//!
//! For what counts against a machine for all jobs, see `quarantine`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windrow_model::{JobId, TaskId, WorkerId};

use crate::time::Timer;
use crate::transition::Transition;
use crate::worker::quarantine;

/// The evidence of one job against workers with a session. O(workers) in size.
///
/// Invariants: a worker is avoided only for the evidence against it, a timer runs for each avoided
/// worker and for no other, and nothing is kept about a worker without a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Avoidance {
    against: BTreeMap<WorkerId, Against>,
    avoided: BTreeSet<WorkerId>,
}

/// The evidence against one worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Against {
    /// The tasks that have failed there since the last success, up to the number that matters.
    failed: BTreeSet<TaskId>,
    /// How often it was avoided since the last success.
    times: u32,
    /// Whether it was avoided for long enough, and the next task shows whether it has recovered.
    on_trial: bool,
}

impl Avoidance {
    /// Notes that a task has failed on a worker, which is avoided from `tasks_max` tasks on.
    /// Returns how often it was avoided before, if this failure has it avoided.
    fn failed(&mut self, worker: WorkerId, task: TaskId, tasks_max: u32) -> Option<u32> {
        debug_assert!(tasks_max > 0, "a worker is avoided for a failure");
        let against = self.against.entry(worker).or_default();
        if (against.failed.len() as u32) < tasks_max {
            against.failed.insert(task);
        }
        debug_assert!(
            against.failed.len() as u32 <= tasks_max,
            "tasks beyond the limit are not kept"
        );
        let too_many = against.on_trial || against.failed.len() as u32 >= tasks_max;
        if !too_many || !self.avoided.insert(worker) {
            return None;
        }
        against.on_trial = false;
        against.times = against.times.saturating_add(1);
        Some(against.times - 1)
    }

    /// Ends the avoidance of a worker on trial: if the next task fails there, it is avoided again.
    pub(crate) fn give_a_chance(&mut self, worker: WorkerId) {
        debug_assert!(
            self.avoided.len() <= self.against.len(),
            "a worker is avoided for the evidence against it"
        );
        if self.avoided.remove(&worker)
            && let Some(against) = self.against.get_mut(&worker)
        {
            against.on_trial = true;
        }
    }

    /// The workers that the job avoids.
    pub(crate) fn avoided(&self) -> &BTreeSet<WorkerId> {
        &self.avoided
    }

    /// Counts the failure of a task of `job` against a worker.
    pub(crate) fn hold_against(
        &mut self,
        worker: WorkerId,
        job: JobId,
        task: TaskId,
        transition: &mut Transition<'_>,
    ) {
        debug_assert!(
            transition.workers.get(worker).is_some(),
            "evidence is dropped with the worker, so none is added after it"
        );
        let tasks_max = transition.config.worker_failures_max;
        if let Some(before) = self.failed(worker, task, tasks_max) {
            let ends = transition.now + quarantine(before, transition.config);
            transition.deadlines.set(Timer::Avoided(job, worker), ends);
        }
        debug_assert_eq!(
            self.avoided.contains(&worker),
            transition.deadlines.get(Timer::Avoided(job, worker)).is_some(),
            "a timer runs for each avoided worker, and for no other"
        );
    }

    /// Drops the evidence against a worker: a task has succeeded there, or the worker is gone.
    pub(crate) fn forgive(
        &mut self,
        worker: WorkerId,
        job: JobId,
        transition: &mut Transition<'_>,
    ) {
        self.against.remove(&worker);
        self.avoided.remove(&worker);
        transition.deadlines.clear(Timer::Avoided(job, worker));
    }

    /// Stops the timers of a job that ends.
    pub(crate) fn stop_timers(&self, job: JobId, transition: &mut Transition<'_>) {
        for &worker in &self.avoided {
            transition.deadlines.clear(Timer::Avoided(job, worker));
        }
    }

    /// Whether nothing is held against a worker.
    pub(crate) fn is_clear_of(&self, worker: WorkerId) -> bool {
        !self.against.contains_key(&worker) && !self.avoided.contains(&worker)
    }
}
