//! One task: its state, and what it has been charged with.

use serde::{Deserialize, Serialize};
use windrow_model::WorkerId;

use crate::event::AttemptStats;
use crate::job::audit::ShuffleDigest;
use crate::job::blame::Trouble;
use crate::job::tally::Share;
use crate::time::Time;

/// A task and its history. There may be a million of them: what few of them have is boxed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Where it stands.
    pub(crate) state: TaskState,
    /// Attempts started so far, and so the number of the last one.
    pub(crate) attempts: u32,
    /// Of a map: what its last winner wrote for the shuffle. Of a reduce: what it read of it.
    pub(crate) written: Option<ShuffleDigest>,
    /// What it is charged with, if it ever was.
    trouble: Option<Box<Trouble>>,
}

static NO_TROUBLE: Trouble = Trouble::none();

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
/// A task runs as long as one of its attempts does: where a backup was started, the first of the
/// two to succeed wins.
///
/// Being lost is a transition, not a state: what was lost waits or is queued again. Reduce tasks
/// are queued from the start, but only placed while every map task is done; so the loss of a map
/// output shuts one gate instead of moving every reduce task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum TaskState {
    /// Not to be placed: it pauses between a failure and its retry, until its timer goes off.
    Waiting,
    /// To be placed as soon as a slot is free.
    Queued,
    /// An attempt runs, as far as is known, or two. Boxed: few of many tasks run.
    Running(Box<Race>),
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
    /// When it last gave one.
    pub(crate) moved: Time,
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
    pub(crate) counted: Counted,
    /// Reducers that could not fetch its output.
    pub(crate) fetch_reports: u32,
}

/// What is kept of a winner's [`AttemptStats`]: what has to be taken back if it is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) input_records: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_records: u64,
    pub(crate) output_bytes: u64,
    pub(crate) skipped_records: u64,
    pub(crate) elapsed_us: u64,
    pub(crate) counters: Share,
}

impl Counted {
    /// As the attempt says; `counters` are its own.
    pub(crate) fn of(stats: &AttemptStats, counters: Share) -> Self {
        Self {
            input_records: stats.input_records,
            input_bytes: stats.input_bytes,
            output_records: stats.output_records,
            output_bytes: stats.output_bytes,
            skipped_records: stats.skipped_records,
            elapsed_us: u64::try_from(stats.elapsed.as_micros()).unwrap_or(u64::MAX),
            counters,
        }
    }
}

impl Running {
    /// An attempt that begins.
    pub(crate) fn new(number: u32, worker: WorkerId, since: Time) -> Self {
        debug_assert!(number > 0, "attempts are numbered from 1: 0 attempts were never started");
        Self {
            number,
            since,
            worker,
            outputs_version: 0,
            records: 0,
            bytes: 0,
            steps: 0,
            moved: since,
        }
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
        debug_assert!(
            backup.as_ref().is_none_or(|backup| backup.worker != first.worker),
            "what slows a machine down slows both attempts on it"
        );
        let (chosen, other) = match backup {
            Some(backup) if backup.number == number => (backup, Some(first)),
            backup => (first, backup),
        };
        debug_assert_eq!(chosen.number, number, "only one of the two can end the race");
        debug_assert!(
            other.as_ref().is_none_or(|other| other.number != chosen.number),
            "a report of one attempt must not count for the other"
        );
        (chosen, other)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Running> {
        std::iter::once(&mut self.first).chain(&mut self.backup)
    }
}

impl Task {
    /// A task that was never tried.
    pub(crate) fn new() -> Self {
        Self { state: TaskState::Queued, attempts: 0, written: None, trouble: None }
    }

    /// What it is charged with.
    pub(crate) fn trouble(&self) -> &Trouble {
        self.trouble.as_deref().unwrap_or(&NO_TROUBLE)
    }

    /// What it is charged with, to be changed.
    pub(crate) fn trouble_mut(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    /// It has succeeded, which refutes what it was charged with.
    pub(crate) fn forgive(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.forgive();
            if **trouble == NO_TROUBLE {
                self.trouble = None;
            }
        }
        debug_assert!(!self.trouble().suspect, "what has succeeded has killed no process");
    }

    /// The attempt that runs and is number `number` on `worker`. This is the fence: whatever else
    /// speaks of an attempt is late, doubled or confused.
    pub(crate) fn running_mut(&mut self, number: u32, worker: WorkerId) -> Option<&mut Running> {
        let TaskState::Running(race) = &mut self.state else { return None };
        race.iter_mut().find(|running| running.number == number && running.worker == worker)
    }

    /// The attempt that has won, if it is number `number` on `worker`.
    pub(crate) fn winner_mut(&mut self, number: u32, worker: WorkerId) -> Option<&mut Winner> {
        let attempts = self.attempts;
        match &mut self.state {
            TaskState::Done(winner) if winner.number == number && winner.worker == worker => {
                debug_assert!(number <= attempts, "only what was started has won");
                Some(winner)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million tasks, with their place in a queue or at a holder and their split, are to fit into
    /// 200 MB.
    #[test]
    fn a_quiet_task_is_small() {
        assert!(size_of::<Task>() <= 160, "{} bytes", size_of::<Task>());
        assert_eq!(*Task::new().trouble(), Trouble::default());
    }
}
