//! One task: its state, and the charges against it. Only [`Tasks`](super::Tasks) changes a task, so
//! that its queue and its sums agree with the states; others read it.

use serde::{Deserialize, Serialize};
use windrow_model::WorkerId;

use crate::event::AttemptStats;
use crate::job::blame::Charges;
use crate::job::stage::ShuffleDigest;
use crate::job::tally::Share;
use crate::time::Time;

/// A task and its history. There may be a million tasks: what only few of them have is boxed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Where it stands.
    pub(super) state: TaskState,
    /// Attempts started so far, and so the number of the last one.
    pub(super) attempts: u32,
    /// What its latest winner wrote for the shuffle, or read of it.
    pub(super) written: Option<ShuffleDigest>,
    /// The charges against it, if it was ever charged.
    charges: Option<Box<Charges>>,
}

static NO_CHARGES: Charges = Charges::none();

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
///     |     lose (its output cannot be read any more)     |
///     +----------------------------------------------------+
/// ```
///
/// A task runs as long as one of its attempts does: with a backup, the first of the two to succeed
/// wins.
///
/// Loss is a transition, not a state: a lost task waits or is queued again. Tasks that read outputs
/// are queued from the start, but placed only while all these outputs are there; so the loss of one
/// need not move every task that reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum TaskState {
    /// It pauses between a failure and its retry, until its timer fires.
    Waiting,
    /// It waits for a free slot.
    Queued,
    /// One or two attempts run, as far as is known. Boxed: few of many tasks run.
    Running(Box<Race>),
    /// An attempt has won, and its output is valid.
    Done(Winner),
}

/// The running attempts of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Race {
    /// The older attempt.
    pub(crate) first: Running,
    /// The backup, started because the first attempt seemed slow.
    pub(crate) backup: Option<Running>,
}

/// An attempt that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its number.
    pub(crate) number: u32,
    /// Since when, as far as the present coordinator knows.
    pub(crate) since: Time,
    /// The worker that runs it.
    pub(crate) worker: WorkerId,
    /// The version of the outputs that it was told to read, if its stage reads outputs.
    pub(crate) inputs_version: u64,
    /// Records read so far.
    pub(crate) records: u64,
    /// Bytes read so far.
    pub(crate) bytes: u64,
    /// Signs of life so far.
    pub(crate) steps: u64,
    /// When it last gave a sign of life.
    pub(crate) moved: Time,
}

/// The attempt that has won.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Winner {
    /// Its number.
    pub(crate) number: u32,
    /// The worker that ran it and holds its output.
    pub(crate) worker: WorkerId,
    /// The version of the outputs that it has read, if its stage reads outputs.
    pub(crate) inputs_version: u64,
    /// What it counted.
    pub(crate) counted: Counted,
    /// Readers that could not fetch its output.
    pub(super) fetch_reports: u32,
}

/// What is kept of a winner's [`AttemptStats`], to be subtracted if the winner is lost.
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
    /// The counts that the attempt reports, with its share of the user counters.
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
    pub(super) fn new(number: u32, worker: WorkerId, since: Time) -> Self {
        debug_assert!(number > 0, "attempts are numbered from 1: 0 attempts were never started");
        Self {
            number,
            since,
            worker,
            inputs_version: 0,
            records: 0,
            bytes: 0,
            steps: 0,
            moved: since,
        }
    }
}

impl Race {
    /// The attempts, the older one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Running> {
        std::iter::once(&self.first).chain(&self.backup)
    }

    /// The attempt of this number, which must be one of the two, and the other one.
    pub(super) fn split(self, number: u32) -> (Running, Option<Running>) {
        let Self { first, backup } = self;
        debug_assert!(
            backup.as_ref().is_none_or(|backup| backup.worker != first.worker),
            "the backup runs on another worker"
        );
        let (chosen, other) = match backup {
            Some(backup) if backup.number == number => (backup, Some(first)),
            backup => (first, backup),
        };
        debug_assert_eq!(chosen.number, number, "the number is one of the two");
        debug_assert!(
            other.as_ref().is_none_or(|other| other.number != chosen.number),
            "the two attempts have different numbers"
        );
        (chosen, other)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Running> {
        std::iter::once(&mut self.first).chain(&mut self.backup)
    }
}

impl Task {
    /// A task that was never tried.
    pub(super) fn new() -> Self {
        Self { state: TaskState::Queued, attempts: 0, written: None, charges: None }
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> &TaskState {
        &self.state
    }

    /// Attempts started so far, and so the number of the last one.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What its latest winner wrote for the shuffle, or read of it. Kept when that is lost.
    pub(crate) fn written(&self) -> Option<ShuffleDigest> {
        self.written
    }

    /// The charges against it.
    pub(crate) fn charges(&self) -> &Charges {
        self.charges.as_deref().unwrap_or(&NO_CHARGES)
    }

    /// The charges against it, to be changed.
    pub(super) fn charges_mut(&mut self) -> &mut Charges {
        self.charges.get_or_insert_default()
    }

    /// Drops the charges that its success refutes.
    pub(super) fn forgive(&mut self) {
        if let Some(charges) = &mut self.charges {
            charges.forgive();
            if **charges == NO_CHARGES {
                self.charges = None;
            }
        }
        debug_assert!(!self.charges().is_suspect(), "a task that has succeeded is no suspect");
    }

    /// Whether the attempt of this number runs on this worker. This check is the fence: a message
    /// about any other attempt is late, duplicated or wrong.
    pub(crate) fn runs(&self, number: u32, worker: WorkerId) -> bool {
        let TaskState::Running(race) = &self.state else { return false };
        race.iter().any(|running| running.number == number && running.worker == worker)
    }

    /// Whether the winner is attempt `number` on `worker`.
    pub(crate) fn was_won_by(&self, number: u32, worker: WorkerId) -> bool {
        let TaskState::Done(winner) = &self.state else { return false };
        winner.number == number && winner.worker == worker
    }

    /// The running attempt of this number on this worker.
    pub(super) fn running_mut(&mut self, number: u32, worker: WorkerId) -> Option<&mut Running> {
        let TaskState::Running(race) = &mut self.state else { return None };
        race.iter_mut().find(|running| running.number == number && running.worker == worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million tasks, with their entries in a queue or at a holder and their splits, must fit
    /// into 200 MB.
    #[test]
    fn a_quiet_task_is_small() {
        assert!(size_of::<Task>() <= 160, "{} bytes", size_of::<Task>());
        assert_eq!(*Task::new().charges(), Charges::default());
    }
}
