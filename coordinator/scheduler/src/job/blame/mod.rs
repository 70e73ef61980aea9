//! Workers on which tasks of a job fail: a missing library, bad memory, or a disk that only this
//! job uses.
//!
//! The evidence is the job's own, and its code may be to blame as well as the machine. So it counts
//! for this job alone, and only in the choice of workers: a task does not go back to a worker on
//! which it failed, and the whole job avoids one on which several of its tasks have failed, as long
//! as there are others that could run them, busy or not (as Hadoop does, with
//! `mapreduce.job.maxtaskfailures.per.tracker`). So one bad machine costs a task one attempt, and
//! some tasks at most. Where all are to be avoided, none is: the fault is likely the job's. After
//! as long as a quarantine would take, one more task shows whether the worker is better now.
//!
//! What counts against a machine for all jobs is in `quarantine`.

mod trouble;

pub(crate) use trouble::{Progress, Trouble};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windrow_model::{TaskId, WorkerId};

use crate::job::Job;
use crate::step::Step;
use crate::time::Timer;
use crate::worker::quarantine;

/// Workers that a task remembers to have failed on: more than it has attempts, in most jobs.
const FAILED_ON_MAX: usize = 8;

/// What a job holds against workers with a session. O(workers) in size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Avoidance {
    against: BTreeMap<WorkerId, Against>,
    avoided: BTreeSet<WorkerId>,
}

/// What speaks against one of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Against {
    /// The tasks that have failed there since one has succeeded, up to as many as matter.
    failed: BTreeSet<TaskId>,
    /// How often it was avoided since.
    times: u32,
    /// Whether it was avoided for long enough, and the next task shows whether it is better.
    on_trial: bool,
}

/// The workers on which a task has failed, the last one last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailedOn(Vec<WorkerId>);

impl Avoidance {
    /// This task has failed there; `tasks_max` of them are too many. If it is avoided from now on,
    /// returns how often it was before.
    fn failed(&mut self, worker: WorkerId, task: TaskId, tasks_max: u32) -> Option<u32> {
        debug_assert!(tasks_max > 0, "else a worker would be avoided before it has failed");
        let against = self.against.entry(worker).or_default();
        if (against.failed.len() as u32) < tasks_max {
            against.failed.insert(task);
        }
        debug_assert!(against.failed.len() as u32 <= tasks_max, "more would not matter");
        let too_many = against.on_trial || against.failed.len() as u32 >= tasks_max;
        if !too_many || !self.avoided.insert(worker) {
            return None;
        }
        against.on_trial = false;
        against.times = against.times.saturating_add(1);
        Some(against.times - 1)
    }

    /// It has been avoided for long enough to see whether it is better now. If the next task fails
    /// there, it is not.
    pub(crate) fn give_a_chance(&mut self, worker: WorkerId) {
        debug_assert!(
            self.avoided.len() <= self.against.len(),
            "who is avoided has something against it"
        );
        if self.avoided.remove(&worker)
            && let Some(against) = self.against.get_mut(&worker)
        {
            against.on_trial = true;
        }
    }

    fn forget(&mut self, worker: WorkerId) {
        self.against.remove(&worker);
        self.avoided.remove(&worker);
    }

    /// Those on which too many have failed.
    pub(crate) fn avoided(&self) -> &BTreeSet<WorkerId> {
        &self.avoided
    }
}

impl FailedOn {
    /// Of a task that has never failed.
    pub(crate) const fn nowhere() -> Self {
        Self(Vec::new())
    }

    /// Adds a worker.
    pub(crate) fn add(&mut self, worker: WorkerId) {
        self.0.retain(|there| *there != worker);
        if self.0.len() == FAILED_ON_MAX {
            self.0.remove(0);
        }
        self.0.push(worker);
        debug_assert!(self.0.len() <= FAILED_ON_MAX, "there is a bound on what is remembered");
    }

    /// Whether it has failed there, as far as it is remembered.
    pub(crate) fn contains(&self, worker: WorkerId) -> bool {
        self.0.contains(&worker)
    }
}

impl Job {
    /// A task has failed there.
    pub(crate) fn hold_against(&mut self, worker: WorkerId, task: TaskId, step: &mut Step<'_>) {
        debug_assert!(
            step.workers.get(worker).is_some(),
            "what is held against somebody who is gone is never forgotten"
        );
        let tasks_max = step.config.worker_failures_max;
        if let Some(before) = self.avoidance.failed(worker, task, tasks_max) {
            let ends = step.now + quarantine(before, step.config);
            step.deadlines.set(Timer::Avoided(self.id, worker), ends);
        }
        debug_assert_eq!(
            self.avoidance.avoided().contains(&worker),
            step.deadlines.get(Timer::Avoided(self.id, worker)).is_some(),
            "who is avoided gets another chance, and nobody else needs one"
        );
    }

    /// A task has succeeded there, or the worker is gone: nothing is held against it any more.
    pub(crate) fn forgive(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        self.avoidance.forget(worker);
        step.deadlines.clear(Timer::Avoided(self.id, worker));
    }
}
