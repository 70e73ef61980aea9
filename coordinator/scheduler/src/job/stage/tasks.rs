//! The tasks of one stage: their transitions, the queue, and running sums over all. Independent of
//! workers, time and the other stage.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, FailureCause, JobId, StageId, TaskId, WorkerId};

use crate::event::AttemptProgress;
use crate::job::stage::{Counted, CowList, Queue, Race, Running, Task, TaskState, Winner};
use crate::time::Time;

/// All tasks of one stage of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tasks {
    job: JobId,
    stage: StageId,
    tasks: CowList<Task>,
    queue: Queue,
    /// Tasks with a running attempt.
    active: BTreeSet<u32>,
    /// Attempts that run.
    pub(crate) running: u32,
    /// Tasks that are done.
    pub(crate) done: u32,
    /// The highest number of done tasks so far.
    pub(crate) most_done: u32,
    /// Attempts that ever won, including those that were lost later.
    pub(crate) won: u64,
    /// Attempts that were started.
    pub(crate) attempts: u32,
    /// Attempts that failed.
    pub(crate) failed: u32,
    /// Attempts, running or done, that were lost.
    pub(crate) lost: u32,
    /// Attempts that were started as backups.
    pub(crate) backups: u32,
    /// Backups that run.
    pub(crate) backups_running: u32,
    /// Backups that won.
    pub(crate) backups_won: u32,
    /// Attempts that lost the race against their backup or their original.
    pub(crate) overtaken: u32,
    /// Sums over winners and running attempts, backups excepted.
    pub(crate) totals: Totals,
    /// A failure that the first winner with skipped records has met.
    pub(crate) skipped_example: Option<Box<FailureCause>>,
}

/// Sums that are kept up to date, so that a view needs no pass over the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Records read by winners and running attempts.
    pub(crate) input_records: u64,
    /// Bytes read by winners and running attempts.
    pub(crate) input_bytes: u64,
    /// Bad records that winners have skipped.
    pub(crate) skipped_records: u64,
    /// Records written by winners.
    pub(crate) output_records: u64,
    /// Bytes written by winners.
    pub(crate) output_bytes: u64,
    /// Work of winners: bytes of maps, records of reduces.
    pub(crate) work_done: u64,
    /// Time of winners.
    pub(crate) elapsed_us: u64,
}

impl Tasks {
    /// `count` tasks, all queued, in blocks of `block_len`.
    pub(crate) fn new(job: JobId, stage: StageId, count: u32, block_len: NonZeroU32) -> Self {
        Self {
            job,
            stage,
            tasks: CowList::new((0..count).map(|_| Task::new()), block_len),
            queue: Queue::of(count),
            active: BTreeSet::new(),
            running: 0,
            done: 0,
            most_done: 0,
            won: 0,
            attempts: 0,
            failed: 0,
            lost: 0,
            backups: 0,
            backups_running: 0,
            backups_won: 0,
            overtaken: 0,
            totals: Totals::default(),
            skipped_example: None,
        }
    }

    /// Number of tasks.
    pub(crate) fn len(&self) -> u32 {
        self.tasks.len()
    }

    /// Whether every task is done.
    pub(crate) fn all_done(&self) -> bool {
        let all_done = self.done == self.len();
        debug_assert!(
            !all_done || self.queue.is_empty() && self.active.is_empty(),
            "a task that is done is neither queued nor running"
        );
        all_done
    }

    /// Checks after each transition that the counts agree with the lists.
    fn check_counts(&self) {
        let active = self.active.len() as u32;
        debug_assert_eq!(
            self.running,
            active + self.backups_running,
            "a task that runs has one attempt, or two with its backup"
        );
        debug_assert!(self.backups_running <= active, "a task has one backup at a time");
        debug_assert!(
            self.done + active + self.queue.len() as u32 <= self.len(),
            "no task is in two states; the remaining ones wait"
        );
        debug_assert!(self.done <= self.most_done, "the maximum is never exceeded");
        debug_assert!(self.most_done <= self.len(), "a task is done once at a time");
        debug_assert!(
            u64::from(self.most_done) <= self.won && self.won <= u64::from(self.attempts),
            "a task that is done has won, and a winner was started"
        );
        debug_assert!(
            self.backups_won + self.backups_running <= self.backups,
            "only backups that were started run or win"
        );
        debug_assert!(self.backups <= self.attempts, "a backup is an attempt");
        debug_assert!(
            self.running + self.done + self.failed + self.lost + self.overtaken <= self.attempts,
            "an attempt ends once; ends with the job are not counted"
        );
    }

    /// The id of a task.
    pub(crate) fn id(&self, index: u32) -> TaskId {
        debug_assert!(index < self.len(), "the task exists");
        TaskId { job: self.job, stage: self.stage, index }
    }

    /// The queued tasks, in order.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// All tasks in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter()
    }

    /// The tasks as the journal has them.
    pub(crate) fn blocks(&self) -> &CowList<Task> {
        &self.tasks
    }

    /// The tasks as the journal has them, to be written or read.
    pub(crate) fn blocks_mut(&mut self) -> &mut CowList<Task> {
        &mut self.tasks
    }

    /// A task that a message names, if it exists.
    pub(crate) fn get(&self, index: u32) -> Option<&Task> {
        self.tasks.get(index)
    }

    /// A task that a message names, if it exists, to be changed.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Task> {
        self.tasks.get_mut(index)
    }

    /// A task that is known to exist.
    pub(crate) fn task(&self, index: u32) -> &Task {
        &self.tasks[index]
    }

    /// A task that is known to exist, to be changed.
    pub(crate) fn task_mut(&mut self, index: u32) -> &mut Task {
        &mut self.tasks[index]
    }

    /// The winning attempts, in order of tasks.
    pub(crate) fn winners(&self) -> impl Iterator<Item = (AttemptId, &Winner)> {
        (0..).zip(self.tasks.iter()).filter_map(|(index, task)| match &task.state {
            TaskState::Done(winner) => {
                Some((AttemptId { task: self.id(index), number: winner.number }, winner))
            }
            _ => None,
        })
    }

    /// The running attempts, in order of tasks. O(running attempts).
    pub(crate) fn running_attempts(&self) -> impl Iterator<Item = (AttemptId, &Running)> {
        let races = self.active.iter().filter_map(|&index| match &self.task(index).state {
            TaskState::Running(race) => Some((self.id(index), race)),
            _ => None,
        });
        races.flat_map(|(task, race)| {
            race.iter().map(move |running| (AttemptId { task, number: running.number }, running))
        })
    }

    /// Waiting to queued.
    pub(crate) fn enqueue(&mut self, index: u32) {
        let task = self.task_mut(index);
        debug_assert!(matches!(task.state, TaskState::Waiting), "only a waiting task is queued");
        task.state = TaskState::Queued;
        let suspect = task.charges().suspect;
        self.queue.insert(index, suspect);
        debug_assert!(!self.active.contains(&index), "a queued task does not run");
        self.check_counts();
    }

    /// Waiting to queued, unless another attempt runs.
    pub(crate) fn enqueue_if_waiting(&mut self, index: u32) {
        if matches!(self.task(index).state, TaskState::Waiting) {
            self.enqueue(index);
        }
    }

    /// Queued to running: the next attempt begins on `worker`.
    pub(crate) fn start(&mut self, index: u32, worker: WorkerId, now: Time) -> AttemptId {
        let queued = self.queue.remove(index);
        debug_assert!(queued, "only a queued task is placed");
        debug_assert!(
            matches!(self.task(index).state, TaskState::Queued),
            "the queue lists queued tasks"
        );
        let first = self.next_attempt(index, worker, now);
        let number = first.number;
        let added = self.active.insert(index);
        debug_assert!(added, "a queued task did not run");
        self.task_mut(index).state = TaskState::Running(Box::new(Race { first, backup: None }));
        self.check_counts();
        AttemptId { task: self.id(index), number }
    }

    /// Starts a backup of a running attempt that has none.
    pub(crate) fn back_up(&mut self, index: u32, worker: WorkerId, now: Time) -> AttemptId {
        let backup = self.next_attempt(index, worker, now);
        let number = backup.number;
        self.backups += 1;
        self.backups_running += 1;
        debug_assert!(self.active.contains(&index), "only a running task gets a backup");
        if let TaskState::Running(race) = &mut self.task_mut(index).state {
            debug_assert!(race.backup.is_none(), "one backup at a time");
            debug_assert_ne!(race.first.worker, worker, "a backup runs on another worker");
            debug_assert!(race.first.number < number, "the backup is the younger one");
            race.backup = Some(backup);
        }
        self.check_counts();
        AttemptId { task: self.id(index), number }
    }

    fn next_attempt(&mut self, index: u32, worker: WorkerId, now: Time) -> Running {
        self.running += 1;
        self.attempts += 1;
        let task = self.task_mut(index);
        task.attempts += 1;
        let number = task.attempts;
        debug_assert!(number <= self.attempts, "the stage counts all tasks' attempts");
        Running::new(number, worker, now)
    }

    /// Notes the progress of a running attempt. False if there is none, or no such attempt runs.
    pub(crate) fn progress(
        &mut self,
        worker: WorkerId,
        progress: AttemptProgress,
        now: Time,
    ) -> bool {
        let AttemptProgress { attempt, records, bytes, steps } = progress;
        let Some(task) = self.get_mut(attempt.task.index) else { return false };
        let Some(running) = task.running_mut(attempt.number, worker) else { return false };
        // A late report may show less than an earlier one.
        let more_records = records.saturating_sub(running.records);
        let more_bytes = bytes.saturating_sub(running.bytes);
        running.records += more_records;
        running.bytes += more_bytes;
        let lives = steps > running.steps;
        running.steps = steps.max(running.steps);
        let moves = lives || more_records > 0 || more_bytes > 0;
        if moves {
            running.moved = now;
        }
        let is_first =
            matches!(&task.state, TaskState::Running(race) if race.first.number == attempt.number);
        if is_first {
            self.totals.input_records = self.totals.input_records.saturating_add(more_records);
            self.totals.input_bytes = self.totals.input_bytes.saturating_add(more_bytes);
        }
        moves
    }

    /// Resets the progress of running attempts: heartbeats are not journaled.
    pub(crate) fn forget_progress(&mut self, now: Time) {
        for &index in &self.active {
            if let TaskState::Running(race) = &mut self.tasks[index].state {
                self.totals.uncount(&race.first);
                for running in race.iter_mut() {
                    let outputs_version = running.outputs_version;
                    *running = Running::new(running.number, running.worker, now);
                    running.outputs_version = outputs_version;
                }
            }
        }
    }

    /// Ends an attempt without success and returns its worker. The task waits unless another
    /// attempt runs.
    pub(crate) fn stop(&mut self, index: u32, number: u32) -> Option<WorkerId> {
        let (stopped, other) = self.end_race(index)?.split(number);
        if let Some(other) = other {
            self.running += 1;
            self.totals.count(&other);
            self.active.insert(index);
            let race = Box::new(Race { first: other, backup: None });
            self.task_mut(index).state = TaskState::Running(race);
        }
        self.check_counts();
        Some(stopped.worker)
    }

    /// Running to done. Returns the losing attempt of the race and its worker, if there is one.
    pub(crate) fn win(
        &mut self,
        index: u32,
        number: u32,
        counted: Counted,
    ) -> Option<(AttemptId, WorkerId)> {
        let race = self.end_race(index)?;
        let backup_won = race.backup.as_ref().is_some_and(|backup| backup.number == number);
        self.backups_won += u32::from(backup_won);
        let (winner, other) = race.split(number);
        self.totals.add(&counted, self.stage);
        self.done += 1;
        self.most_done = self.most_done.max(self.done);
        self.won += 1;
        self.overtaken += u32::from(other.is_some());
        let Running { worker, outputs_version, .. } = winner;
        let winner = Winner { number, worker, outputs_version, counted, fetch_reports: 0 };
        let task = self.task_mut(index);
        task.state = TaskState::Done(winner);
        task.forgive();
        debug_assert!(number <= task.attempts, "the winner was started");
        self.check_counts();
        other.map(|other| (AttemptId { task: self.id(index), number: other.number }, other.worker))
    }

    /// Done to waiting: the winner's output cannot be read any more. Returns the former winner.
    pub(crate) fn lose(&mut self, index: u32) -> Option<Winner> {
        let task = self.task_mut(index);
        let state = std::mem::replace(&mut task.state, TaskState::Waiting);
        let TaskState::Done(winner) = state else {
            debug_assert!(false, "only a task that is done has an output to lose");
            task.state = state;
            return None;
        };
        self.totals.subtract(&winner.counted, self.stage);
        debug_assert!(self.done > 0, "the task was counted when it won");
        self.done -= 1;
        debug_assert!(self.done < self.most_done, "the task was done");
        self.lost += 1;
        debug_assert!(!self.active.contains(&index), "a task that was done does not run");
        self.check_counts();
        Some(winner)
    }

    /// Leaves the task waiting, and takes its attempts out of the sums.
    fn end_race(&mut self, index: u32) -> Option<Race> {
        let task = self.task_mut(index);
        let state = std::mem::replace(&mut task.state, TaskState::Waiting);
        let TaskState::Running(race) = state else {
            debug_assert!(false, "only a running attempt can end");
            task.state = state;
            return None;
        };
        let removed = self.active.remove(&index);
        debug_assert!(removed, "a running task is listed");
        debug_assert!(self.running > u32::from(race.backup.is_some()), "each attempt was counted");
        self.running -= 1 + u32::from(race.backup.is_some());
        self.backups_running -= u32::from(race.backup.is_some());
        self.totals.uncount(&race.first);
        Some(*race)
    }
}

impl Totals {
    // Counts come from workers: they saturate, so that wrong ones cannot panic.
    pub(crate) fn add(&mut self, counted: &Counted, stage: StageId) {
        self.input_records = self.input_records.saturating_add(counted.input_records);
        self.input_bytes = self.input_bytes.saturating_add(counted.input_bytes);
        self.skipped_records = self.skipped_records.saturating_add(counted.skipped_records);
        self.output_records = self.output_records.saturating_add(counted.output_records);
        self.output_bytes = self.output_bytes.saturating_add(counted.output_bytes);
        self.work_done = self.work_done.saturating_add(work(counted, stage));
        self.elapsed_us = self.elapsed_us.saturating_add(counted.elapsed_us);
    }

    /// Adds what a running attempt has read.
    pub(crate) fn count(&mut self, running: &Running) {
        self.input_records = self.input_records.saturating_add(running.records);
        self.input_bytes = self.input_bytes.saturating_add(running.bytes);
    }

    fn uncount(&mut self, running: &Running) {
        self.input_records = self.input_records.saturating_sub(running.records);
        self.input_bytes = self.input_bytes.saturating_sub(running.bytes);
    }

    fn subtract(&mut self, counted: &Counted, stage: StageId) {
        self.input_records = self.input_records.saturating_sub(counted.input_records);
        self.input_bytes = self.input_bytes.saturating_sub(counted.input_bytes);
        self.skipped_records = self.skipped_records.saturating_sub(counted.skipped_records);
        self.output_records = self.output_records.saturating_sub(counted.output_records);
        self.output_bytes = self.output_bytes.saturating_sub(counted.output_bytes);
        self.work_done = self.work_done.saturating_sub(work(counted, stage));
        self.elapsed_us = self.elapsed_us.saturating_sub(counted.elapsed_us);
    }
}

/// The measure of a stage's speed: bytes for maps, whose splits have a size, and records for
/// reduces.
fn work(counted: &Counted, stage: StageId) -> u64 {
    match stage {
        StageId::MAP => counted.input_bytes,
        _ => counted.input_records,
    }
}
