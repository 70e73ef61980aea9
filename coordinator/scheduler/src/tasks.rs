//! The tasks of one stage: their transitions, the queue of those that could run, and running sums over all.
//! Knows nothing of workers, time or the other stage.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use windrow_jobs::{AttemptId, JobId, Stage, TaskId, WorkerId};

use crate::event::{AttemptProgress, AttemptStats};
use crate::task::{Running, Task, TaskState, Winner};

/// All tasks of one stage of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tasks {
    job: JobId,
    stage: Stage,
    tasks: Vec<Task>,
    queue: BTreeSet<u32>,
    /// Attempts that run.
    pub(crate) running: u32,
    /// Tasks that are done.
    pub(crate) done: u32,
    /// Attempts that were started.
    pub(crate) attempts: u32,
    /// Attempts that failed.
    pub(crate) failed: u32,
    /// Attempts, running or done, that were lost.
    pub(crate) lost: u32,
    /// Sums over winners and running attempts.
    pub(crate) totals: Totals,
}

/// Sums that are kept up to date, so that a view needs no pass over the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Read by winners and running attempts.
    pub(crate) input_records: u64,
    /// Likewise.
    pub(crate) input_bytes: u64,
    /// Written by winners.
    pub(crate) output_records: u64,
    /// Likewise.
    pub(crate) output_bytes: u64,
}

impl Tasks {
    /// `count` tasks, all queued.
    pub(crate) fn new(job: JobId, stage: Stage, count: u32) -> Self {
        Self {
            job,
            stage,
            tasks: (0..count).map(|_| Task::new()).collect(),
            queue: (0..count).collect(),
            running: 0,
            done: 0,
            attempts: 0,
            failed: 0,
            lost: 0,
            totals: Totals::default(),
        }
    }

    /// Number of tasks.
    pub(crate) fn len(&self) -> u32 {
        self.tasks.len() as u32
    }

    /// Whether every task is done.
    pub(crate) fn all_done(&self) -> bool {
        self.done == self.len()
    }

    /// The name of a task.
    pub(crate) fn id(&self, index: u32) -> TaskId {
        TaskId { job: self.job, stage: self.stage, index }
    }

    /// The tasks that could run, in order.
    pub(crate) fn queue(&self) -> &BTreeSet<u32> {
        &self.queue
    }

    /// All tasks in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter()
    }

    /// A task that a message names, if there is such a one.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Task> {
        self.tasks.get_mut(index as usize)
    }

    /// A task that is known to exist.
    pub(crate) fn task(&self, index: u32) -> &Task {
        &self.tasks[index as usize]
    }

    /// Likewise, to be changed.
    pub(crate) fn task_mut(&mut self, index: u32) -> &mut Task {
        &mut self.tasks[index as usize]
    }

    /// The winning attempts with who ran them, in order of tasks.
    pub(crate) fn winners(&self) -> impl Iterator<Item = (AttemptId, &Winner)> {
        (0..).zip(&self.tasks).filter_map(|(index, task)| match &task.state {
            TaskState::Done(winner) => {
                Some((AttemptId { task: self.id(index), number: winner.number }, winner))
            }
            _ => None,
        })
    }

    /// Waiting to queued.
    pub(crate) fn enqueue(&mut self, index: u32) {
        debug_assert!(matches!(self.task(index).state, TaskState::Waiting));
        self.task_mut(index).state = TaskState::Queued;
        self.queue.insert(index);
    }

    /// Queued to running: the next attempt begins on `worker`.
    pub(crate) fn start(&mut self, index: u32, worker: WorkerId) -> AttemptId {
        let queued = self.queue.remove(&index);
        debug_assert!(queued);
        self.running += 1;
        self.attempts += 1;
        let task = self.task_mut(index);
        task.attempts += 1;
        task.state = TaskState::Running(Running { worker, records: 0, bytes: 0, steps: 0 });
        let number = task.attempts;
        AttemptId { task: self.id(index), number }
    }

    /// Notes how far a running attempt has come. False when that is no further than before, or when no such
    /// attempt runs.
    pub(crate) fn progress(&mut self, worker: WorkerId, progress: AttemptProgress) -> bool {
        let AttemptProgress { attempt, records, bytes, steps } = progress;
        let Some(running) = self
            .get_mut(attempt.task.index)
            .and_then(|task| task.running_mut(attempt.number, worker))
        else {
            return false;
        };
        // A late report may lie behind an earlier one.
        let more_records = records.saturating_sub(running.records);
        let more_bytes = bytes.saturating_sub(running.bytes);
        running.records += more_records;
        running.bytes += more_bytes;
        let lives = steps > running.steps;
        running.steps = steps.max(running.steps);
        self.totals.input_records = self.totals.input_records.saturating_add(more_records);
        self.totals.input_bytes = self.totals.input_bytes.saturating_add(more_bytes);
        lives || more_records > 0 || more_bytes > 0
    }

    /// Running attempts count as if they had read nothing yet: what heartbeats said is not known for good.
    pub(crate) fn forget_progress(&mut self) {
        for task in &mut self.tasks {
            if let TaskState::Running(running) = &mut task.state {
                let totals = &mut self.totals;
                totals.input_records = totals.input_records.saturating_sub(running.records);
                totals.input_bytes = totals.input_bytes.saturating_sub(running.bytes);
                *running = Running { worker: running.worker, records: 0, bytes: 0, steps: 0 };
            }
        }
    }

    /// Running to waiting: the attempt is over, without success. Returns who ran it.
    pub(crate) fn stop(&mut self, index: u32) -> Option<WorkerId> {
        let running = self.end_running(index)?;
        Some(running.worker)
    }

    /// Running to done.
    pub(crate) fn win(&mut self, index: u32, stats: AttemptStats) {
        let Some(Running { worker, .. }) = self.end_running(index) else { return };
        self.totals.add(&stats);
        self.done += 1;
        let task = self.task_mut(index);
        let number = task.attempts;
        task.state = TaskState::Done(Winner { number, worker, stats, fetch_reports: 0 });
    }

    /// Done to waiting: what the winner left can't be read any more. Returns the former winner.
    pub(crate) fn lose(&mut self, index: u32) -> Option<Winner> {
        let task = self.task_mut(index);
        let state = std::mem::replace(&mut task.state, TaskState::Waiting);
        let TaskState::Done(winner) = state else {
            debug_assert!(false, "only a task that is done has an output to lose");
            task.state = state;
            return None;
        };
        self.totals.subtract(&winner.stats);
        self.done -= 1;
        self.lost += 1;
        Some(winner)
    }

    /// Leaves the task waiting, whatever comes next, and takes the attempt out of the sums.
    fn end_running(&mut self, index: u32) -> Option<Running> {
        let task = self.task_mut(index);
        let state = std::mem::replace(&mut task.state, TaskState::Waiting);
        let TaskState::Running(running) = state else {
            debug_assert!(false, "only a running attempt can end");
            task.state = state;
            return None;
        };
        self.running -= 1;
        self.totals.input_records = self.totals.input_records.saturating_sub(running.records);
        self.totals.input_bytes = self.totals.input_bytes.saturating_sub(running.bytes);
        Some(running)
    }
}

impl Totals {
    // Counts come from workers: they saturate, so that nonsense can't end the process.
    pub(crate) fn add(&mut self, stats: &AttemptStats) {
        self.input_records = self.input_records.saturating_add(stats.input_records);
        self.input_bytes = self.input_bytes.saturating_add(stats.input_bytes);
        self.output_records = self.output_records.saturating_add(stats.output_records);
        self.output_bytes = self.output_bytes.saturating_add(stats.output_bytes);
    }

    fn subtract(&mut self, stats: &AttemptStats) {
        self.input_records = self.input_records.saturating_sub(stats.input_records);
        self.input_bytes = self.input_bytes.saturating_sub(stats.input_bytes);
        self.output_records = self.output_records.saturating_sub(stats.output_records);
        self.output_bytes = self.output_bytes.saturating_sub(stats.output_bytes);
    }
}
