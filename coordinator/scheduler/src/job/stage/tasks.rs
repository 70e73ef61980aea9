//! The tasks of one stage: their transitions, the queue, and running sums over all. Independent of
//! workers, time and other stages.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, FailureCause, JobId, StageId, TaskId, WorkerId};

use crate::event::AttemptProgress;
use crate::job::blame::Charges;
use crate::job::stage::{
    AttemptEnd, Counted, Counts, CowList, Queue, Race, Running, ShuffleDigest, Task, TaskState,
    Totals, Winner, WorkUnit,
};
use crate::time::Time;

/// All tasks of one stage of one job.
///
/// Invariants: a task is in the queue if it is queued, and among the active ones if it runs; counts
/// and totals are those of the tasks' states. `Scheduler::check_invariants` checks it from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tasks {
    job: JobId,
    stage: StageId,
    tasks: CowList<Task>,
    queue: Queue,
    /// Tasks with a running attempt.
    active: BTreeSet<u32>,
    counts: Counts,
    totals: Totals,
    /// A failure that the first winner with skipped records has met.
    skipped_example: Option<Box<FailureCause>>,
}

/// What the success of an attempt changes besides its task.
pub(crate) struct Won {
    /// The other attempt of the race and its worker, if there was one.
    pub(crate) loser: Option<(AttemptId, WorkerId)>,
    /// What the task's former winner wrote or read, if the task was done before.
    pub(crate) former: Option<ShuffleDigest>,
}

impl Tasks {
    /// `count` tasks, all queued, in blocks of `block_len`, whose speed is measured in `unit`.
    pub(super) fn new(
        job: JobId,
        stage: StageId,
        count: u32,
        unit: WorkUnit,
        block_len: NonZeroU32,
    ) -> Self {
        Self {
            job,
            stage,
            tasks: CowList::new((0..count).map(|_| Task::new()), block_len),
            queue: Queue::of(count),
            active: BTreeSet::new(),
            counts: Counts::default(),
            totals: Totals::new(unit),
            skipped_example: None,
        }
    }

    /// The stage whose tasks these are.
    pub(crate) fn stage(&self) -> StageId {
        self.stage
    }

    /// The tasks and attempts by state.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Sums over winners and running attempts, backups excepted.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// A failure that the first winner with skipped records has met.
    pub(crate) fn skipped_example(&self) -> Option<&FailureCause> {
        self.skipped_example.as_deref()
    }

    /// Number of tasks.
    pub(crate) fn len(&self) -> u32 {
        self.tasks.len()
    }

    /// Whether every task is done.
    pub(crate) fn all_done(&self) -> bool {
        let all_done = self.counts.done == self.len();
        debug_assert!(
            !all_done || self.queue.is_empty() && self.active.is_empty(),
            "a task that is done is neither queued nor running"
        );
        all_done
    }

    /// Checks after each transition that the counts agree with the lists.
    fn check_counts(&self) {
        let (counts, active) = (&self.counts, self.active.len() as u32);
        debug_assert_eq!(
            counts.running,
            active + counts.backups_running,
            "a task that runs has one attempt, or two with its backup"
        );
        debug_assert!(counts.backups_running <= active, "a task has one backup at a time");
        debug_assert!(
            counts.done + active + self.queue.len() as u32 <= self.len(),
            "no task is in two states; the remaining ones wait"
        );
        debug_assert!(counts.most_done <= self.len(), "a task is done once at a time");
        counts.check();
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
    pub(super) fn blocks(&self) -> &CowList<Task> {
        &self.tasks
    }

    /// The tasks as the journal has them, to be written or read.
    pub(super) fn blocks_mut(&mut self) -> &mut CowList<Task> {
        &mut self.tasks
    }

    /// A task that a message names, if it exists.
    pub(crate) fn get(&self, index: u32) -> Option<&Task> {
        self.tasks.get(index)
    }

    /// A task that a message names, if it exists, to be changed.
    fn get_mut(&mut self, index: u32) -> Option<&mut Task> {
        self.tasks.get_mut(index)
    }

    /// A task that is known to exist.
    pub(crate) fn task(&self, index: u32) -> &Task {
        &self.tasks[index]
    }

    /// A task that is known to exist, to be changed.
    fn task_mut(&mut self, index: u32) -> &mut Task {
        &mut self.tasks[index]
    }

    /// The charges against a task, to be changed.
    pub(crate) fn charges_mut(&mut self, index: u32) -> &mut Charges {
        self.task_mut(index).charges_mut()
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
        let suspect = task.charges().is_suspect();
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
        self.counts.back_up();
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
        self.counts.start();
        let task = self.task_mut(index);
        task.attempts += 1;
        let number = task.attempts;
        debug_assert!(number <= self.counts.attempts, "the stage counts all tasks' attempts");
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
            self.totals.count_more(more_records, more_bytes);
        }
        moves
    }

    /// Resets the progress of running attempts: heartbeats are not journaled.
    pub(crate) fn forget_progress(&mut self, now: Time) {
        for &index in &self.active {
            if let TaskState::Running(race) = &mut self.tasks[index].state {
                self.totals.uncount(&race.first);
                for running in race.iter_mut() {
                    let inputs_version = running.inputs_version;
                    *running = Running::new(running.number, running.worker, now);
                    running.inputs_version = inputs_version;
                }
            }
        }
    }

    /// Notes which version of its inputs a running attempt was told to read.
    pub(crate) fn note_inputs_version(
        &mut self,
        index: u32,
        number: u32,
        worker: WorkerId,
        version: u64,
    ) {
        if let Some(running) = self.get_mut(index).and_then(|task| task.running_mut(number, worker))
        {
            running.inputs_version = version;
        }
    }

    /// Notes that a reader could not fetch the output of the winner. Returns how many could not by
    /// now; `None` if this attempt is not the winner.
    pub(crate) fn count_fetch_report(
        &mut self,
        index: u32,
        number: u32,
        worker: WorkerId,
    ) -> Option<u32> {
        let task = self.get_mut(index).filter(|task| task.was_won_by(number, worker))?;
        debug_assert!(number <= task.attempts, "only what was started has won");
        let TaskState::Done(winner) = &mut task.state else { return None };
        winner.fetch_reports += 1;
        Some(winner.fetch_reports)
    }

    /// Ends an attempt without success and returns its worker. The task waits unless another
    /// attempt runs.
    pub(crate) fn stop(&mut self, index: u32, number: u32, end: AttemptEnd) -> Option<WorkerId> {
        let (stopped, other) = self.end_race(index)?.split(number);
        if let Some(other) = other {
            self.counts.go_on();
            self.totals.count(&other);
            self.active.insert(index);
            let race = Box::new(Race { first: other, backup: None });
            self.task_mut(index).state = TaskState::Running(race);
        }
        self.counts.end(end);
        self.check_counts();
        Some(stopped.worker)
    }

    /// Running to done. `None` if the attempt does not run.
    pub(super) fn win(
        &mut self,
        index: u32,
        number: u32,
        counted: Counted,
        written: ShuffleDigest,
    ) -> Option<Won> {
        let race = self.end_race(index)?;
        let backup_won = race.backup.as_ref().is_some_and(|backup| backup.number == number);
        let (winner, other) = race.split(number);
        self.totals.add(&counted);
        self.counts.win(backup_won, other.is_some());
        let Running { worker, inputs_version, .. } = winner;
        let winner = Winner { number, worker, inputs_version, counted, fetch_reports: 0 };
        let task = self.task_mut(index);
        task.state = TaskState::Done(winner);
        task.forgive();
        debug_assert!(number <= task.attempts, "the winner was started");
        let former = task.written.replace(written);
        self.check_counts();
        let id = self.id(index);
        let loser = other.map(|other| (AttemptId { task: id, number: other.number }, other.worker));
        Some(Won { loser, former })
    }

    /// Keeps a failure that a winner has met at a record that it skipped, if it is the first.
    pub(crate) fn note_skipped(&mut self, example: &FailureCause) {
        self.skipped_example.get_or_insert_with(|| Box::new(example.clone()));
    }

    /// Done to waiting: the winner's output cannot be read any more. Returns the former winner.
    pub(super) fn lose(&mut self, index: u32) -> Option<Winner> {
        let task = self.task_mut(index);
        let state = std::mem::replace(&mut task.state, TaskState::Waiting);
        let TaskState::Done(winner) = state else {
            debug_assert!(false, "only a task that is done has an output to lose");
            task.state = state;
            return None;
        };
        self.totals.subtract(&winner.counted);
        self.counts.lose();
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
        self.counts.end_race(race.backup.is_some());
        self.totals.uncount(&race.first);
        Some(*race)
    }
}
