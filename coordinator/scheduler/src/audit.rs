//! Whether reducers have read what the maps wrote.
//!
//! A map's output may be lost after some reducers have read it, and is then made anew. As long as maps are
//! deterministic, nobody can tell the difference. Where one is not, some reducers would have read its first
//! output and others its second, and a pair could be missed or counted twice. The digest of what a map wrote, which is kept
//! for as long as the job runs, tells; then all reducers that have read anything older are run again.
//!
//! At the end, what all winning reducers have read must be what all winning maps wrote, pair for pair.

use windrow_jobs::{AttemptId, Audit};

use crate::effect::JobFailure;
use crate::job::{Job, JobResult};
use crate::step::Step;
use crate::task::TaskState;

impl Job {
    /// A map has won. If it had won before, and has written something else now, reducers that may have read that are run
    /// again.
    pub(crate) fn compare_with_former(&mut self, map: u32, audit: Audit, step: &mut Step<'_>) {
        let former = self.map.task_mut(map).audit.replace(audit);
        if former.is_none_or(|former| former == audit) {
            return;
        }
        self.nondeterministic.get_or_insert(map);
        for index in 0..self.reduce.len() {
            self.redo_if_older(index, step);
        }
    }

    /// Runs a reduce again that has read, or may have read, another version of the map outputs than that in force. Nobody is
    /// to blame.
    fn redo_if_older(&mut self, index: u32, step: &mut Step<'_>) {
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
                    self.uncount(&winner.stats.counters);
                }
                self.reduce.enqueue(index);
            }
            TaskState::Done(_) | TaskState::Queued | TaskState::Waiting => {}
        }
    }

    /// Fails the job if the winning reducers have not read what the winning maps wrote.
    pub(crate) fn check_conservation(&self) -> JobResult {
        if self.is_map_only() {
            return Ok(());
        }
        let sum = |audits: &mut dyn Iterator<Item = Audit>| {
            let mut sum = Audit::default();
            audits.for_each(|audit| sum.merge(audit));
            sum
        };
        // Of the maps' tasks, not of their winners: one that is being run again may have been read before it was lost.
        let written = sum(&mut self.map.iter().filter_map(|task| task.audit));
        let read = sum(&mut self.reduce.winners().map(|(_, winner)| winner.stats.audit));
        if read == written { Ok(()) } else { Err(Box::new(JobFailure::Audit { written, read })) }
    }
}
