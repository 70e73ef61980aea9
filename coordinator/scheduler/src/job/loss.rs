//! Losing: a worker with all that it ran and held, some map outputs that it held, or one that can't
//! be fetched any more.
//!
//! ```text
//!  worker left -----+                  +--> its running attempts: tasks queued again
//!                   +--> lose_worker --+--> its map outputs, where a reducer may still need them:
//!  lease ran out ---+                  |    map tasks queued again;
//!                                      |    reducers wait until all maps are done
//!                                      +--> the last of its kind: the clocks of jobs start
//!                                           that nobody else can run
//!  a process died with them -> outputs_died --> those still in force are lost
//!  reducer could not fetch --> fetch_failed --> passing fault, stale report,
//!                                               or: that output is lost
//! ```
//!
//! Reducers that run go on: they may have read what was lost already. If not, their fetch fails.

use std::collections::BTreeSet;

use windrow_model::{AttemptId, FailureCause, StageId, TaskId, WorkerId};

use crate::effect::JobFailure;
use crate::job::attempt::Again;
use crate::job::retry::charge_output;
use crate::job::{Job, JobResult};
use crate::quarantine;
use crate::step::Step;

impl Job {
    /// All that a worker ran and held of this job was lost with it.
    pub(crate) fn worker_lost(
        &mut self,
        worker: WorkerId,
        attempts: &[AttemptId],
        cause: &FailureCause,
        step: &mut Step<'_>,
    ) -> JobResult {
        // All that is gone is written off before any of it is judged: should the job end by it,
        // nothing must be sent to the lost worker any more.
        let holder = self.holders.remove(&worker).unwrap_or_default();
        self.forgive(worker, step);
        for &attempt in attempts {
            let stopped_on = self.stop(attempt, step);
            debug_assert_eq!(stopped_on, Some(worker), "a worker runs what its job says");
            self.tasks_mut(attempt.task.stage).lost += 1;
        }
        for &attempt in attempts {
            self.retry(attempt, cause.clone(), None, Again::Now, step)?;
        }
        debug_assert!(
            !self.holders.contains_key(&worker) && !self.avoidance.avoided().contains(&worker),
            "a job keeps nothing of who is gone"
        );
        if self.needs_map_outputs() {
            self.outputs_lost(holder.outputs(), cause, None, step)?;
        }
        Ok(())
    }

    /// A worker lives, but the process died in whose memory these outputs were. Those that are not
    /// in force any more, or that another attempt made, don't matter.
    pub(crate) fn outputs_died(
        &mut self,
        worker: WorkerId,
        outputs: &[AttemptId],
        step: &mut Step<'_>,
    ) -> JobResult {
        if !self.needs_map_outputs() {
            return Ok(());
        }
        let mut lost = BTreeSet::new();
        for &AttemptId { task: TaskId { job, stage, index }, number } in outputs {
            let task = self.map.get_mut(index).filter(|_| job == self.id && stage == StageId::MAP);
            if task.is_some_and(|task| task.winner_mut(number, worker).is_some()) {
                lost.insert(index);
            }
        }
        if let Some(holder) = self.holders.get_mut(&worker) {
            debug_assert!(lost.is_subset(holder.outputs()), "a winner's output is at its holder");
            holder.lose(&lost);
        }
        let reason = "the process that held the output died".to_string();
        self.outputs_lost(&lost, &FailureCause::WorkerLost { worker, reason }, None, step)
    }

    /// A reducer could not fetch a map output. If that is still the output in force, it is given up
    /// when reports add up; the first may be a passing fault.
    pub(crate) fn fetch_failed(
        &mut self,
        reader: WorkerId,
        cause: &FailureCause,
        step: &mut Step<'_>,
    ) -> JobResult<Again> {
        let &FailureCause::FetchFailed { map_task, map_attempt, worker, .. } = cause else {
            return Ok(Again::AfterPause);
        };
        let output = self.map.get_mut(map_task).and_then(|t| t.winner_mut(map_attempt, worker));
        let Some(output) = output else {
            // Stale: it was lost in the meantime, and the next attempt reads its successor.
            return Ok(Again::Now);
        };
        output.fetch_reports += 1;
        let output_reports = output.fetch_reports;
        debug_assert!(step.workers.get(worker).is_some(), "what was lost with its holder is stale");

        let holder = self.holders.entry(worker).or_default();
        holder.complain(reader, self.reduce.won);
        let is_sure = holder.is_surely_at_fault();
        let lost = if holder.complaints() >= step.config.holder_reports_max {
            holder.lose_all()
        } else if output_reports >= step.config.output_reports_max {
            let lost = BTreeSet::from([map_task]);
            holder.lose(&lost);
            lost
        } else {
            return Ok(Again::AfterPause);
        };
        debug_assert!(lost.contains(&map_task), "a winner's output is among its holder's");
        quarantine::unreadable(worker, self.id, step);
        for &index in lost.iter().filter(|_| is_sure) {
            self.hold_against(worker, self.map.id(index), step);
        }
        self.outputs_lost(&lost, cause, Some(worker), step)?;
        Ok(Again::Now)
    }

    /// The outputs of these map tasks can't be read any more: the tasks are done once more.
    pub(crate) fn outputs_lost(
        &mut self,
        lost: &BTreeSet<u32>,
        cause: &FailureCause,
        avoid: Option<WorkerId>,
        step: &mut Step<'_>,
    ) -> JobResult {
        if lost.is_empty() {
            return Ok(());
        }
        debug_assert!(self.needs_map_outputs(), "what nobody will read is not made again");
        let version = self.outputs_version;
        for &index in lost {
            if let Some(winner) = self.map.lose(index) {
                self.counters.subtract(&winner.counted.counters);
            }
        }
        self.forget_map_outputs();
        debug_assert!(version < self.outputs_version, "reducers that run are told by the version");
        for &index in lost {
            self.redo(index, cause, avoid, step)?;
        }
        debug_assert!(!self.map.all_done(), "reducers wait for what was lost");
        Ok(())
    }

    /// Has a map done once more whose output is lost, unless that has happened too often: then the
    /// job fails.
    fn redo(
        &mut self,
        index: u32,
        cause: &FailureCause,
        avoid: Option<WorkerId>,
        step: &mut Step<'_>,
    ) -> JobResult {
        let (id, progress) = (self.map.id(index), self.progress_made());
        let task = self.map.task_mut(index);
        avoid.into_iter().for_each(|worker| task.trouble_mut().failed_on.add(worker));
        if !charge_output(task, cause, progress, step.config) {
            let (attempts, cause) = (task.attempts, cause.clone());
            return Err(Box::new(JobFailure::Task { task: id, attempts, cause }));
        }
        self.map.enqueue(index);
        Ok(())
    }
}
