//! Checks that reducers have read what the maps wrote.
//!
//! A map's output may be lost after some reducers have read it, and is then made again. As long as
//! the map is deterministic, that makes no difference. If it is not, some reducers would have read
//! its first output and others its second, and a pair could be missed or counted twice. The digest
//! of what a map wrote, kept as long as the job runs, detects that; all reducers that have read an
//! older output then run again.
//!
//! A map with a combiner that spills before it has combined all pairs writes other pairs each time,
//! though from the same input. In that case, the keys that its mapper has emitted are compared
//! instead.
//!
//! At the end, what all winning reducers have read must equal what all winning maps wrote, pair for
//! pair.

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, Audit, Emitted};

use crate::effect::JobFailure;
use crate::event::AttemptStats;
use crate::job::stage::{Task, TaskState};
use crate::job::{Job, JobResult};
use crate::transition::Transition;

/// What a map attempt has written for the shuffle, or what a reduce attempt has read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShuffleDigest {
    audit: Audit,
    emitted: Option<Emitted>,
}

impl ShuffleDigest {
    /// The digest that the attempt reports.
    pub(crate) fn of(stats: &AttemptStats) -> Self {
        Self { audit: stats.audit, emitted: stats.emitted }
    }

    /// Whether another attempt at the task has written the same.
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
    /// Compares a map's new output with its former one. If they differ, reducers that may have read
    /// the former one run again.
    pub(crate) fn compare_with_former(
        &mut self,
        map: u32,
        former: Option<ShuffleDigest>,
        written: ShuffleDigest,
        transition: &mut Transition<'_>,
    ) {
        let Some(former) = former else { return };
        if !former.means_the_same(written) {
            self.nondeterministic.get_or_insert(map);
            self.mixed_outputs = false;
            for index in 0..self.reduce.len() {
                self.redo_if_older(index, transition);
            }
        } else if former.audit != written.audit {
            self.mixed_outputs |= self.reduce.iter().any(|task| self.has_read_older(task));
        }
    }

    /// Whether a reducer has read, or may have read, an outdated version of the map outputs.
    fn has_read_older(&self, reduce: &Task) -> bool {
        let newest = match &reduce.state {
            TaskState::Running(race) => race.iter().map(|running| running.outputs_version).max(),
            TaskState::Done(winner) => Some(winner.outputs_version),
            TaskState::Queued | TaskState::Waiting => None,
        };
        debug_assert!(
            newest.is_none_or(|newest| newest <= self.outputs_version),
            "no reducer is ahead of the current version"
        );
        match &reduce.state {
            TaskState::Running(race) => {
                race.iter().any(|running| running.outputs_version < self.outputs_version)
            }
            TaskState::Done(winner) => winner.outputs_version < self.outputs_version,
            TaskState::Queued | TaskState::Waiting => false,
        }
    }

    /// Runs a reduce again that has read, or may have read, an outdated version of the map outputs.
    /// The task is charged with nothing.
    fn redo_if_older(&mut self, index: u32, transition: &mut Transition<'_>) {
        debug_assert!(
            self.nondeterministic.is_some(),
            "a reduce runs again only after a map has differed"
        );
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
                    self.give_up(attempt, transition);
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

    /// Fails the job if the winning reducers have not read what the winning maps wrote. If reducers
    /// have read different outputs of one map (`mixed_outputs`), the sums differ although nothing
    /// was lost, so they are not compared: each reducer has checked what it read against the output
    /// it came from.
    pub(crate) fn check_conservation(&self) -> JobResult {
        if self.is_map_only() || self.mixed_outputs {
            return Ok(());
        }
        let sum = |audits: &mut dyn Iterator<Item = Audit>| {
            let mut sum = Audit::default();
            audits.for_each(|audit| sum.merge(audit));
            sum
        };
        // Sums over the tasks, not over their winners: the output of a map that is running again
        // may have been read before it was lost.
        let written = sum(&mut self.map.iter().filter_map(|task| Some(task.written?.audit)));
        debug_assert!(self.reduce.all_done(), "the sum is known when all reducers are done");
        let read = sum(&mut self.reduce.iter().filter_map(|task| Some(task.written?.audit)));
        if read == written { Ok(()) } else { Err(Box::new(JobFailure::Audit { written, read })) }
    }
}
