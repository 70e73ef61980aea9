//! Processes that die while they run user code: which task is at fault, and which record is left
//! out.
//!
//! ```text
//!                     died, others ran beside it              succeeded
//!   unsuspected  ------------------------------>  suspect  ---------------> unsuspected
//!                                                 |  ^  |
//!                    died alone: counts as failure|  |  | died alone at a record
//!                    (max_attempts)               +--+  | that the job may skip:
//!                                                    |  | that record is poison,
//!                                                    +--+ left out from then on
//! ```
//!
//! If another attempt may have killed the process, or it ran out of memory, the record that it had
//! reached is only suspected. It is poison when the next process dies at the same record.
//!
//! When a process dies, all attempts in it become suspects, and run alone from then on, each in a
//! process of its own. That finds the culprit at no cost to the others: a death in company accuses
//! no task, and counts against a limit of its own. It counts nothing against the machine either.
//!
//! Poison is not counted as skipped here: the attempt that leaves it out counts it, as with every
//! bad record.

use windrow_model::{AttemptId, BadRecord, BadRecordBudget, FailureCause, TaskId};

use crate::effect::JobFailure;
use crate::job::blame::Blame;
use crate::job::stage::{AttemptEnd, TaskState};
use crate::job::{Job, JobResult};
use crate::transition::Transition;

impl Job {
    /// Draws the conclusions from a death of the attempt's process, if the cause is one.
    pub(super) fn note_death(
        &mut self,
        attempt: AttemptId,
        cause: &FailureCause,
        transition: &Transition<'_>,
    ) -> JobResult<Blame> {
        let Some(alone) = cause.died_alone() else { return Ok(Blame::Cause) };
        let may_skip = alone && self.plan.skip_bad_records.is_some();
        let poison = may_skip.then(|| BadRecord::of_death(cause)).flatten();
        debug_assert!(
            poison.is_none() || alone,
            "in a shared process, the record at fault is unknown"
        );
        let charges = self.stages[attempt.task.stage].tasks_mut().charges_mut(attempt.task.index);
        let blame = charges.process_died(poison, cause.is_own_doing());
        if blame == Blame::Record {
            self.check_poison(attempt, cause, transition)?;
        }
        Ok(blame)
    }

    /// Retries a task without its poison. Its other attempt, if there is one, is stopped: it would
    /// die of the same record.
    pub(super) fn try_without(&mut self, task: TaskId, transition: &mut Transition<'_>) {
        let tasks = self.stages[task.stage].tasks();
        if let TaskState::Running(race) = tasks.task(task.index).state() {
            debug_assert!(race.backup.is_none(), "one of the two attempts has just died");
            let attempt = AttemptId { task, number: race.first.number };
            self.give_up(attempt, AttemptEnd::Overtaken, transition);
        }
        self.stages[task.stage].tasks_mut().enqueue(task.index);
    }

    /// Fails the job if this task alone has more poison than the job may skip, or than is worth a
    /// process each to find.
    fn check_poison(
        &self,
        attempt: AttemptId,
        cause: &FailureCause,
        transition: &Transition<'_>,
    ) -> JobResult {
        let task = self.stages[attempt.task.stage].tasks().task(attempt.task.index);
        let records = task.charges().poison().len() as u32;
        debug_assert!(records > 0, "a poison record was just found");
        debug_assert!(
            self.plan.skip_bad_records.is_some(),
            "records are left out only if the job may skip them"
        );
        if let Some(budget @ BadRecordBudget::Records(_)) = self.plan.skip_bad_records {
            // The task has not won, so its poison is not yet counted with what winners have
            // skipped.
            let skipped = self.skipped_records().saturating_add(u64::from(records));
            if !budget.covers(skipped, 0) {
                let example = Some(cause.clone());
                return Err(Box::new(JobFailure::BadRecords {
                    skipped,
                    of: None,
                    budget,
                    example,
                }));
            }
        }
        if records > transition.config.poison_max {
            let (task, cause) = (attempt.task, cause.clone());
            return Err(Box::new(JobFailure::Poison { task, records, cause }));
        }
        Ok(())
    }
}
