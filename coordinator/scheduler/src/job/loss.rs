//! Losses: a worker with its attempts and outputs, outputs of a process that died, or an output
//! that cannot be fetched any more.
//!
//! ```text
//!  worker left -----+                  +--> its running attempts: tasks queued again
//!                   +--> lose_worker --+--> its outputs, where a reader may still need them:
//!  lease ran out ---+                  |    the tasks that made them are queued again;
//!                                      |    tasks that read them wait until all are done
//!                                      +--> the last of its platform: the clocks of jobs
//!                                           start that no other worker can run
//!  a process died with them -> outputs_died --> the current ones are lost
//!  a reader could not fetch -> fetch_failed --> transient fault, stale report,
//!                                               or: that output is lost
//! ```
//!
//! Running readers go on: they may have read the lost output already. If not, their fetch fails.

use std::collections::BTreeSet;

use windrow_model::{AttemptId, FailureCause, StageId, WorkerId};

use crate::effect::JobFailure;
use crate::job::attempt::Again;
use crate::job::stage::{AttemptEnd, Complaint};
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
        self.workers.remove(&worker);
        self.avoidance.forgive(worker, self.id, transition);
        for &attempt in attempts {
            let stopped_on = self.stop(attempt, AttemptEnd::Lost, transition);
            debug_assert_eq!(stopped_on, Some(worker), "the attempt ran on the lost worker");
        }
        for &attempt in attempts {
            self.retry(attempt, cause.clone(), None, Again::Now, transition)?;
        }
        debug_assert!(
            !self.workers.contains(&worker) && self.avoidance.is_clear_of(worker),
            "a job keeps nothing about a lost worker"
        );
        for stage in self.stages.ids() {
            let held = self.stages[stage].outputs().and_then(|outputs| outputs.held_by(worker));
            let lost = held.cloned().unwrap_or_default();
            if self.needs_outputs(&self.stages[stage]) {
                self.outputs_lost(stage, &lost, cause, None, transition)?;
            }
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
        for id in self.stages.ids() {
            let stage = &self.stages[id];
            if !self.needs_outputs(stage) {
                continue;
            }
            let of_stage =
                |output: &&AttemptId| (output.task.job, output.task.stage) == (self.id, id);
            let is_current = |output: &&AttemptId| {
                let task = stage.tasks().get(output.task.index);
                task.is_some_and(|task| task.was_won_by(output.number, worker))
            };
            let lost = outputs.iter().filter(of_stage).filter(is_current);
            let lost: BTreeSet<_> = lost.map(|output| output.task.index).collect();
            let reason = "the process that held the output died".to_string();
            let cause = FailureCause::WorkerLost { worker, reason };
            self.outputs_lost(id, &lost, &cause, None, transition)?;
        }
        Ok(())
    }

    /// Handles a failed fetch of an output of a stage. The current output is given up when reports
    /// add up; the first may be a transient fault.
    pub(super) fn fetch_failed(
        &mut self,
        stage: StageId,
        reader: WorkerId,
        cause: &FailureCause,
        transition: &mut Transition<'_>,
    ) -> JobResult<Again> {
        let &FailureCause::FetchFailed { map_task, map_attempt, worker, .. } = cause else {
            return Ok(Again::AfterPause);
        };
        let readers_won = self.stages.consumer_of(stage).map_or(0, |it| it.tasks().counts().won);
        let reports =
            self.stages[stage].tasks_mut().count_fetch_report(map_task, map_attempt, worker);
        let Some(reports) = reports else {
            // Stale: the output was lost in the meantime, and the next attempt reads its successor.
            return Ok(Again::Now);
        };
        debug_assert!(
            transition.workers.get(worker).is_some(),
            "a report about a lost holder is stale"
        );
        let complaint = Complaint { output: map_task, reports, reader, readers_won };
        let outputs = self.stages[stage].outputs_mut();
        let given_up = outputs.and_then(|it| it.complain(worker, &complaint, transition.config));
        let Some(given_up) = given_up else { return Ok(Again::AfterPause) };
        quarantine::unreadable(worker, self.id, transition);
        for &index in given_up.outputs.iter().filter(|_| given_up.is_surely_at_fault) {
            let task = self.stages[stage].tasks().id(index);
            self.avoidance.hold_against(worker, self.id, task, transition);
        }
        self.outputs_lost(stage, &given_up.outputs, cause, Some(worker), transition)?;
        Ok(Again::Now)
    }

    /// Runs tasks again whose outputs cannot be read any more.
    pub(super) fn outputs_lost(
        &mut self,
        stage: StageId,
        lost: &BTreeSet<u32>,
        cause: &FailureCause,
        avoid: Option<WorkerId>,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        if lost.is_empty() {
            return Ok(());
        }
        debug_assert!(
            self.needs_outputs(&self.stages[stage]),
            "outputs are made again only for their readers"
        );
        for winner in self.stages[stage].lose(lost) {
            self.counters.subtract(&winner.counted.counters);
        }
        for &index in lost {
            self.redo(stage, index, cause, avoid, transition)?;
        }
        debug_assert!(!self.stages[stage].tasks().all_done(), "readers wait for the lost outputs");
        Ok(())
    }

    /// Runs one task again whose output is lost, or fails the job if that has happened too often.
    fn redo(
        &mut self,
        stage: StageId,
        index: u32,
        cause: &FailureCause,
        avoid: Option<WorkerId>,
        transition: &mut Transition<'_>,
    ) -> JobResult {
        let progress = self.progress_made();
        let tasks = self.stages[stage].tasks_mut();
        let charges = tasks.charges_mut(index);
        avoid.into_iter().for_each(|worker| charges.note_failed_on(worker));
        if !charges.charge_output(cause, progress, transition.config) {
            let (task, attempts) = (tasks.id(index), tasks.task(index).attempts());
            return Err(Box::new(JobFailure::Task { task, attempts, cause: cause.clone() }));
        }
        tasks.enqueue(index);
        Ok(())
    }
}
