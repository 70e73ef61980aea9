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

use windrow_model::{AttemptId, BadRecord, BadRecordBudget, FailureCause, RecordPlace, TaskId};

use crate::effect::JobFailure;
use crate::job::blame::Charges;
use crate::job::stage::TaskState;
use crate::job::{Job, JobResult};
use crate::transition::Transition;

/// What a failure is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// One record or group, which the next attempt leaves out.
    Record,
    /// The task or the machine, as the cause says.
    Cause,
}

impl Charges {
    /// Suspects this record and charges the task, or, if it was suspected already, takes that
    /// charge back. Returns whether the suspicion is confirmed.
    fn suspect_place(&mut self, place: &RecordPlace) -> bool {
        let is_confirmed = self.suspected_place.as_ref() == Some(place);
        debug_assert!(self.suspect, "a record is suspected after its task's process has died");
        if is_confirmed {
            self.failures = self.failures.saturating_sub(1);
        } else {
            self.suspected_place = Some(place.clone());
        }
        is_confirmed
    }
}

impl Job {
    /// Draws the conclusions from a death of the attempt's process, if the cause is one.
    pub(crate) fn note_death(
        &mut self,
        attempt: AttemptId,
        cause: &FailureCause,
        transition: &Transition<'_>,
    ) -> JobResult<Blame> {
        let Some(alone) = cause.died_alone() else { return Ok(Blame::Cause) };
        let may_skip = alone && self.plan.skip_bad_records.is_some();
        let poison = may_skip.then(|| BadRecord::of_death(cause)).flatten();
        let task = self.tasks_mut(attempt.task.stage).task_mut(attempt.task.index);
        let charges = task.charges_mut();
        charges.suspect = true;
        debug_assert!(
            poison.is_none() || alone,
            "in a shared process, the record at fault is unknown"
        );
        match poison {
            // A record that it was told to leave out is not at fault again.
            Some(poison) if !charges.poison.iter().any(|known| known.place == poison.place) => {
                if !cause.is_own_doing() && !charges.suspect_place(&poison.place) {
                    return Ok(Blame::Cause);
                }
                charges.poison.push(poison);
                self.check_poison(attempt, cause, transition)?;
                Ok(Blame::Record)
            }
            _ => Ok(Blame::Cause),
        }
    }

    /// Retries a task without its poison. Its other attempt, if there is one, is stopped: it would
    /// die of the same record.
    pub(crate) fn try_without(&mut self, task: TaskId, transition: &mut Transition<'_>) {
        let tasks = self.tasks_mut(task.stage);
        if let TaskState::Running(race) = &tasks.task(task.index).state {
            debug_assert!(race.backup.is_none(), "one of the two attempts has just died");
            let number = race.first.number;
            tasks.overtaken += 1;
            self.give_up(AttemptId { task, number }, transition);
        }
        self.tasks_mut(task.stage).enqueue(task.index);
    }

    /// Fails the job if this task alone has more poison than the job may skip, or than is worth a
    /// process each to find.
    fn check_poison(
        &self,
        attempt: AttemptId,
        cause: &FailureCause,
        transition: &Transition<'_>,
    ) -> JobResult {
        let records =
            self.tasks(attempt.task.stage).task(attempt.task.index).charges().poison.len() as u32;
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
