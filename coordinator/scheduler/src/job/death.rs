//! Processes that die while they run user code: who is to blame, and what is left out for it.
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
//! Where somebody else may have killed the process, or it ran out of memory, the record that it had
//! come to is only under suspicion. The record is poison when the next process dies at the same
//! place.
//!
//! When a process dies, all that ran in it is suspect, and runs alone from then on, each in a
//! process of its own. So the culprit is found, and the innocent do not pay: a death in company
//! accuses nobody, and counts against a cap of its own. It says nothing against the machine either.
//!
//! Poison is not counted as skipped here: the attempt that leaves it out counts it, like every bad
//! record.

use windrow_model::{AttemptId, BadRecord, BadRecordBudget, FailureCause, RecordPlace, TaskId};

use crate::effect::JobFailure;
use crate::job::blame::Trouble;
use crate::job::stage::TaskState;
use crate::job::{Job, JobResult};
use crate::step::Step;

/// Whom a failure is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// One record, or group, which is left out by the next attempt.
    Record,
    /// Whatever the cause says.
    Cause,
}

impl Trouble {
    /// Puts this place under suspicion, for which the task is charged; or finds that it was
    /// already, and gives that back. Returns whether the suspicion is confirmed.
    fn suspect_place(&mut self, place: &RecordPlace) -> bool {
        let is_confirmed = self.suspected_place.as_ref() == Some(place);
        debug_assert!(self.suspect, "a place is suspected because its task has killed a process");
        if is_confirmed {
            self.failures = self.failures.saturating_sub(1);
        } else {
            self.suspected_place = Some(place.clone());
        }
        is_confirmed
    }
}

impl Job {
    /// Draws the conclusions from a cause that says that the attempt's process has died, if it says
    /// so.
    pub(crate) fn note_death(
        &mut self,
        attempt: AttemptId,
        cause: &FailureCause,
        step: &Step<'_>,
    ) -> JobResult<Blame> {
        let Some(alone) = cause.died_alone() else { return Ok(Blame::Cause) };
        let may_skip = alone && self.plan.skip_bad_records.is_some();
        let poison = may_skip.then(|| BadRecord::of_death(cause)).flatten();
        let task = self.tasks_mut(attempt.task.stage).task_mut(attempt.task.index);
        let trouble = task.trouble_mut();
        trouble.suspect = true;
        debug_assert!(poison.is_none() || alone, "in company, nobody knows whose record it was");
        match poison {
            // One that it was told to leave out is not to blame again.
            Some(poison) if !trouble.poison.iter().any(|known| known.place == poison.place) => {
                if !cause.is_own_doing() && !trouble.suspect_place(&poison.place) {
                    return Ok(Blame::Cause);
                }
                trouble.poison.push(poison);
                self.check_poison(attempt, cause, step)?;
                Ok(Blame::Record)
            }
            _ => Ok(Blame::Cause),
        }
    }

    /// Has a task tried again without its poison. Another attempt of it would die of that, too.
    pub(crate) fn try_without(&mut self, task: TaskId, step: &mut Step<'_>) {
        let tasks = self.tasks_mut(task.stage);
        if let TaskState::Running(race) = &tasks.task(task.index).state {
            debug_assert!(race.backup.is_none(), "one of the two has just died");
            let number = race.first.number;
            tasks.overtaken += 1;
            self.give_up(AttemptId { task, number }, step);
        }
        self.tasks_mut(task.stage).enqueue(task.index);
    }

    /// Fails the job if this task alone has more poison than the job may skip, or than is worth the
    /// processes that it takes to find it.
    fn check_poison(&self, attempt: AttemptId, cause: &FailureCause, step: &Step<'_>) -> JobResult {
        let records =
            self.tasks(attempt.task.stage).task(attempt.task.index).trouble().poison.len() as u32;
        debug_assert!(records > 0, "some was just found");
        debug_assert!(self.plan.skip_bad_records.is_some(), "else nothing may be left out");
        if let Some(budget @ BadRecordBudget::Records(_)) = self.plan.skip_bad_records {
            // The task has not won, so that its poison is not among what winners have skipped.
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
        if records > step.config.poison_max {
            let (task, cause) = (attempt.task, cause.clone());
            return Err(Box::new(JobFailure::Poison { task, records, cause }));
        }
        Ok(())
    }
}
