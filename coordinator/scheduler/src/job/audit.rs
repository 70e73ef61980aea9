//! Whether reducers have read what the maps wrote.
//!
//! A map's output may be lost after some reducers have read it, and is then made anew. As long as
//! maps are deterministic, nobody can tell the difference. Where one is not, some reducers would
//! have read its first output and others its second, and a pair could be missed or counted twice.
//! The digest of what a map wrote, which is kept for as long as the job runs, tells; then all
//! reducers that have read anything older are run again.
//!
//! A map with a combiner that had to write before it had combined all writes other pairs each time,
//! out of the same ones. So where that has happened, what its mapper has emitted is compared
//! instead, by its keys.
//!
//! At the end, what all winning reducers have read must be what all winning maps wrote, pair for
//! pair.

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, Audit, Emitted};

use crate::effect::JobFailure;
use crate::event::AttemptStats;
use crate::job::stage::{Task, TaskState};
use crate::job::{Job, JobResult};
use crate::step::Step;

/// What an attempt at a map task has written for the shuffle, or one at a reduce task has read of
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShuffleDigest {
    audit: Audit,
    emitted: Option<Emitted>,
}

impl ShuffleDigest {
    /// As the attempt says.
    pub(crate) fn of(stats: &AttemptStats) -> Self {
        Self { audit: stats.audit, emitted: stats.emitted }
    }

    /// Whether it says the same as what another attempt at the task has written.
    fn means_the_same(self, other: Self) -> bool {
        match (self.emitted, other.emitted) {
            (Some(ours), Some(theirs)) if ours.is_partial || theirs.is_partial => {
                ours.keys == theirs.keys
            }
            _ => self.audit == other.audit,
        }
    }
}

impl Job {
    /// A map has won. If it had won before, and has written something else now, reducers that may
    /// have read that are run again.
    pub(crate) fn compare_with_former(
        &mut self,
        map: u32,
        former: Option<ShuffleDigest>,
        written: ShuffleDigest,
        step: &mut Step<'_>,
    ) {
        let Some(former) = former else { return };
        if !former.means_the_same(written) {
            self.nondeterministic.get_or_insert(map);
            self.mixed_outputs = false;
            for index in 0..self.reduce.len() {
                self.redo_if_older(index, step);
            }
        } else if former.audit != written.audit {
            self.mixed_outputs |= self.reduce.iter().any(|task| self.has_read_older(task));
        }
    }

    /// Whether it has read, or may have read, another version of the map outputs than that in
    /// force.
    fn has_read_older(&self, reduce: &Task) -> bool {
        let newest = match &reduce.state {
            TaskState::Running(race) => race.iter().map(|running| running.outputs_version).max(),
            TaskState::Done(winner) => Some(winner.outputs_version),
            TaskState::Queued | TaskState::Waiting => None,
        };
        debug_assert!(
            newest.is_none_or(|newest| newest <= self.outputs_version),
            "nobody reads outputs that are still to be made"
        );
        match &reduce.state {
            TaskState::Running(race) => {
                race.iter().any(|running| running.outputs_version < self.outputs_version)
            }
            TaskState::Done(winner) => winner.outputs_version < self.outputs_version,
            TaskState::Queued | TaskState::Waiting => false,
        }
    }

    /// Runs a reduce again that has read, or may have read, another version of the map outputs than
    /// that in force. Nobody is to blame.
    fn redo_if_older(&mut self, index: u32, step: &mut Step<'_>) {
        debug_assert!(self.nondeterministic.is_some(), "else what was read is as good as what is");
        let task = self.reduce.id(index);
        let version = self.outputs_version;
        match &self.reduce.task(index).state {
            TaskState::Running(race) => {
                let older: Vec<_> = race
                    .iter()
                    .filter(|running| running.outputs_version < version)
                    .map(|running| AttemptId { task, number: running.number })
                    .collect();
                for attempt in older {
                    self.give_up(attempt, step);
                    self.reduce.overtaken += 1;
                }
                self.reduce.enqueue_if_waiting(index);
            }
            TaskState::Done(winner) if winner.outputs_version < version => {
                if let Some(winner) = self.reduce.lose(index) {
                    self.counters.subtract(&winner.counted.counters);
                }
                self.reduce.enqueue(index);
            }
            TaskState::Done(_) | TaskState::Queued | TaskState::Waiting => {}
        }
    }

    /// Fails the job if the winning reducers have not read what the winning maps wrote. Where
    /// reducers have read different outputs of one map (`mixed_outputs`), the sums differ although
    /// nothing was lost, and say nothing: each reducer has compared what it read with the output
    /// from which it read.
    pub(crate) fn check_conservation(&self) -> JobResult {
        if self.is_map_only() || self.mixed_outputs {
            return Ok(());
        }
        let sum = |audits: &mut dyn Iterator<Item = Audit>| {
            let mut sum = Audit::default();
            audits.for_each(|audit| sum.merge(audit));
            sum
        };
        // Of the maps' tasks, not of their winners: one that is being run again may have been read
        // before it was lost.
        let written = sum(&mut self.map.iter().filter_map(|task| Some(task.written?.audit)));
        debug_assert!(self.reduce.all_done(), "what is read is known when all have read it");
        let read = sum(&mut self.reduce.iter().filter_map(|task| Some(task.written?.audit)));
        if read == written { Ok(()) } else { Err(Box::new(JobFailure::Audit { written, read })) }
    }
}
