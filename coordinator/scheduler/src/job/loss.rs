//! Losses: a worker with its attempts and outputs, map outputs of a process that died, or a map
//! output that cannot be fetched any more.
//!
//! ```text
//!  worker left -----+                  +--> its running attempts: tasks queued again
//!                   +--> lose_worker --+--> its map outputs, where a reducer may still need them:
//!  lease ran out ---+                  |    map tasks queued again;
//!                                      |    reducers wait until all maps are done
//!                                      +--> the last of its platform: the clocks of jobs
//!                                           start that no other worker can run
//!  a process died with them -> outputs_died --> the current ones are lost
//!  reducer could not fetch --> fetch_failed --> transient fault, stale report,
//!                                               or: that output is lost
//! ```
//!
//! Running reducers go on: they may have read the lost output already. If not, their fetch fails.

use std::collections::BTreeSet;

use windrow_model::{AttemptId, FailureCause, StageId, TaskId, WorkerId};

use crate::effect::JobFailure;
use crate::job::attempt::Again;
use crate::job::retry::charge_output;
use crate::job::{Job, JobResult};
use crate::quarantine;
use crate::transition::Transition;

impl Job {
    /// Handles the loss of a worker with all that it ran and held of this job.
    pub(crate) fn worker_lost(
        &mut self,
        worker: WorkerId,
        attempts: &[AttemptId],
        cause: &FailureCause,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        // Everything is removed before any loss is judged: if one of them ends the job, nothing may
        // be sent to the lost worker any more.
        let holder = self.holders.remove(&worker).unwrap_or_default();
        self.forgive(worker, transition);
        for &attempt in attempts {
            let stopped_on = self.stop(attempt, transition);
            debug_assert_eq!(stopped_on, Some(worker), "the attempt ran on the lost worker");
            self.tasks_mut(attempt.task.stage).lost += 1;
        }
        for &attempt in attempts {
            self.retry(attempt, cause.clone(), None, Again::Now, transition)?;
        }
        debug_assert!(
            !self.holders.contains_key(&worker) && !self.avoidance.avoided().contains(&worker),
            "a job keeps nothing about a lost worker"
        );
        if self.needs_map_outputs() {
            self.outputs_lost(holder.outputs(), cause, None, transition)?;
        }
        Ok(())
    }

    /// Handles the death of a process that held these outputs, on a worker that lives on. Outputs
    /// that were replaced already, or that belong to another attempt, don't matter.
    pub(crate) fn outputs_died(
        &mut self,
        worker: WorkerId,
        outputs: &[AttemptId],
        transition: &mut Transition<'_>,
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
            debug_assert!(
                lost.is_subset(holder.outputs()),
                "a winner's output is listed at its holder"
            );
            holder.lose(&lost);
        }
        let reason = "the process that held the output died".to_string();
        self.outputs_lost(&lost, &FailureCause::WorkerLost { worker, reason }, None, transition)
    }

    /// Handles a failed fetch of a map output. The current output is given up when reports add up;
    /// the first may be a transient fault.
    pub(crate) fn fetch_failed(
        &mut self,
        reader: WorkerId,
        cause: &FailureCause,
        transition: &mut Transition<'_>,
    ) -> JobResult<Again> {
        let &FailureCause::FetchFailed { map_task, map_attempt, worker, .. } = cause else {
            return Ok(Again::AfterPause);
        };
        let output = self.map.get_mut(map_task).and_then(|t| t.winner_mut(map_attempt, worker));
        let Some(output) = output else {
            // Stale: the output was lost in the meantime, and the next attempt reads its successor.
            return Ok(Again::Now);
        };
        output.fetch_reports += 1;
        let output_reports = output.fetch_reports;
        debug_assert!(
            transition.workers.get(worker).is_some(),
            "a report about a lost holder is stale"
        );

        let holder = self.holders.entry(worker).or_default();
        holder.complain(reader, self.reduce.won);
        let is_sure = holder.is_surely_at_fault();
        let lost = if holder.complaints() >= transition.config.holder_reports_max {
            holder.lose_all()
        } else if output_reports >= transition.config.output_reports_max {
            let lost = BTreeSet::from([map_task]);
            holder.lose(&lost);
            lost
        } else {
            return Ok(Again::AfterPause);
        };
        debug_assert!(lost.contains(&map_task), "a winner's output is listed at its holder");
        quarantine::unreadable(worker, self.id, transition);
        for &index in lost.iter().filter(|_| is_sure) {
            self.hold_against(worker, self.map.id(index), transition);
        }
        self.outputs_lost(&lost, cause, Some(worker), transition)?;
        Ok(Again::Now)
    }

    /// Runs map tasks again whose outputs cannot be read any more.
    pub(crate) fn outputs_lost(
        &mut self,
        lost: &BTreeSet<u32>,
        cause: &FailureCause,
        avoid: Option<WorkerId>,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        if lost.is_empty() {
            return Ok(());
        }
        debug_assert!(self.needs_map_outputs(), "map outputs are made again only for reducers");
        let version = self.outputs_version;
        for &index in lost {
            if let Some(winner) = self.map.lose(index) {
                self.counters.subtract(&winner.counted.counters);
            }
        }
        self.forget_map_outputs();
        debug_assert!(version < self.outputs_version, "a new version tells running reducers");
        for &index in lost {
            self.redo(index, cause, avoid, transition)?;
        }
        debug_assert!(!self.map.all_done(), "reducers wait for the lost outputs");
        Ok(())
    }

    /// Runs one map task again whose output is lost, or fails the job if that has happened too
    /// often.
    fn redo(
        &mut self,
        index: u32,
        cause: &FailureCause,
        avoid: Option<WorkerId>,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        let (id, progress) = (self.map.id(index), self.progress_made());
        let task = self.map.task_mut(index);
        avoid.into_iter().for_each(|worker| task.charges_mut().failed_on.add(worker));
        if !charge_output(task, cause, progress, transition.config) {
            let (attempts, cause) = (task.attempts, cause.clone());
            return Err(Box::new(JobFailure::Task { task: id, attempts, cause }));
        }
        self.map.enqueue(index);
        Ok(())
    }
}
