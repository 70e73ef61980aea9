//! One task: its state, and what it has been charged with.

use serde::{Deserialize, Serialize};
use windrow_jobs::{BadRecord, Place, WorkerId};

use crate::audit::Written;
use crate::avoidance::FailedOn;
use crate::event::AttemptStats;
use crate::time::Time;

/// A task and its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Where it stands.
    pub(crate) state: TaskState,
    /// Attempts started so far, and so the number of the last one.
    pub(crate) attempts: u32,
    /// Attempts that failed by the task's own fault.
    pub(crate) failures: u32,
    /// Attempts, running or done, that were lost through no fault of the task.
    pub(crate) losses: u32,
    /// Attempts that failed because a map output could not be fetched.
    pub(crate) fetch_failures: u32,
    /// Times that the process died in which it ran together with others.
    pub(crate) deaths: u32,
    /// Whether the process died in which it ran, so that it runs alone until it has succeeded.
    pub(crate) suspect: bool,
    /// Records, or groups, that have killed a process in which nothing else ran: they are bad ones, and are left out.
    pub(crate) poison: Vec<BadRecord>,
    /// Where a process has died that somebody else may have killed.
    pub(crate) suspected_place: Option<Place>,
    /// Where it has failed.
    pub(crate) failed_on: FailedOn,
    /// What its last winner wrote for the shuffle.
    pub(crate) written: Option<Written>,
}

/// The states of a task.
///
/// ```text
///            enqueue           start             win
///  Waiting ----------> Queued -------> Running -------> Done
///     ^                                 |  ^  |            |
///     |                         back up |  |  |            |
///     |                                 +--+  |            |
///     |     stop (failed, lost, stalled)      |            |
///     +---------------------------------------+            |
///     |     lose (nobody can read its output any more)     |
///     +----------------------------------------------------+
/// ```
///
/// A task runs as long as one of its attempts does: where a backup was started, the first of the two to succeed wins.
///
/// Being lost is a transition, not a state: what was lost waits or is queued again. Reduce tasks are queued from
/// the start, but only placed while every map task is done; so the loss of a map output shuts one gate instead of
/// moving every reduce task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum TaskState {
    /// Not to be placed: it pauses between a failure and its retry, until its timer goes off.
    Waiting,
    /// To be placed as soon as a slot is free.
    Queued,
    /// An attempt runs, as far as is known, or two.
    Running(Race),
    /// An attempt has won. What it left stands.
    Done(Winner),
}

/// The attempts that run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Race {
    /// The one that has run longer.
    pub(crate) first: Running,
    /// Started because the other one seemed slow.
    pub(crate) backup: Option<Running>,
}

/// An attempt that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its number.
    pub(crate) number: u32,
    /// Since when, as far as the present coordinator knows.
    pub(crate) since: Time,
    /// On whom.
    pub(crate) worker: WorkerId,
    /// Of a reduce: the version of the map outputs that it was told to read.
    pub(crate) outputs_version: u64,
    /// Records read so far.
    pub(crate) records: u64,
    /// Bytes read so far.
    pub(crate) bytes: u64,
    /// Signs of life so far.
    pub(crate) steps: u64,
}

/// The attempt that has won.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Winner {
    /// Its number.
    pub(crate) number: u32,
    /// Who ran it, and holds its output.
    pub(crate) worker: WorkerId,
    /// Of a reduce: the version of the map outputs that it has read.
    pub(crate) outputs_version: u64,
    /// What it counted.
    pub(crate) stats: AttemptStats,
    /// Reducers that could not fetch its output.
    pub(crate) fetch_reports: u32,
}

impl Running {
    /// An attempt that begins.
    pub(crate) fn new(number: u32, worker: WorkerId, since: Time) -> Self {
        Self { number, since, worker, outputs_version: 0, records: 0, bytes: 0, steps: 0 }
    }
}

impl Race {
    /// Both attempts, or the one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Running> {
        std::iter::once(&self.first).chain(&self.backup)
    }

    /// The attempt of this number, which is one of them, and the other one.
    pub(crate) fn split(self, number: u32) -> (Running, Option<Running>) {
        let Self { first, backup } = self;
        let (chosen, other) = match backup {
            Some(backup) if backup.number == number => (backup, Some(first)),
            backup => (first, backup),
        };
        debug_assert_eq!(chosen.number, number);
        (chosen, other)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Running> {
        std::iter::once(&mut self.first).chain(&mut self.backup)
    }
}

impl Task {
    /// A task that was never tried.
    pub(crate) fn new() -> Self {
        Self {
            state: TaskState::Queued,
            attempts: 0,
            failures: 0,
            losses: 0,
            fetch_failures: 0,
            deaths: 0,
            suspect: false,
            poison: Vec::new(),
            suspected_place: None,
            failed_on: FailedOn::default(),
            written: None,
        }
    }

    /// The attempt that runs and is number `number` on `worker`. This is the fence: whatever else speaks of an
    /// attempt is late, doubled or confused.
    pub(crate) fn running_mut(&mut self, number: u32, worker: WorkerId) -> Option<&mut Running> {
        let TaskState::Running(race) = &mut self.state else { return None };
        race.iter_mut().find(|running| running.number == number && running.worker == worker)
    }

    /// The attempt that has won, if it is number `number` on `worker`.
    pub(crate) fn winner_mut(&mut self, number: u32, worker: WorkerId) -> Option<&mut Winner> {
        match &mut self.state {
            TaskState::Done(winner) if winner.number == number && winner.worker == worker => {
                Some(winner)
            }
            _ => None,
        }
    }
}
