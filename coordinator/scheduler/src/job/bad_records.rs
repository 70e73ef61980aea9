//! The budget of bad records that a job may skip.
//!
//! Only winners count, so that a task that runs twice is not counted twice. A budget that is a
//! count applies to the whole job, and is checked with each winner. A budget that is a share is
//! checked when a stage is done, since only then the number of its records is known.

use windrow_model::{BadRecordBudget, FailureCause, StageId};

use crate::effect::JobFailure;
use crate::job::stage::Stage;
use crate::job::{Job, JobResult};

impl Job {
    /// Bad records that the winners have skipped.
    pub(super) fn skipped_records(&self) -> u64 {
        let of_stage = |stage: &Stage| stage.tasks().totals().skipped_records;
        self.stages.iter().map(of_stage).fold(0, u64::saturating_add)
    }

    /// Fails the job if its winners have skipped more than the budget. `example` is a failure that
    /// the latest of them has met in `stage`.
    pub(super) fn check_bad_records(
        &self,
        stage: StageId,
        example: Option<&FailureCause>,
    ) -> JobResult {
        // Without a budget, workers skip nothing.
        let Some(budget) = self.plan.skip_bad_records else { return Ok(()) };
        let tasks = self.stages[stage].tasks();
        let totals = tasks.totals();
        let (skipped, of) = match budget {
            BadRecordBudget::Records(_) => (self.skipped_records(), None),
            BadRecordBudget::Share(_) if tasks.all_done() => {
                (totals.skipped_records, Some(totals.input_records))
            }
            BadRecordBudget::Share(_) => return Ok(()),
        };
        if budget.covers(skipped, of.unwrap_or_default()) {
            return Ok(());
        }
        debug_assert!(skipped > 0, "every budget covers zero records");
        let example = example.or(tasks.skipped_example()).cloned();
        Err(Box::new(JobFailure::BadRecords { skipped, of, budget, example }))
    }

    /// Fails the job if one attempt has exceeded the budget by itself.
    pub(super) fn check_attempt_alone(&self, cause: &FailureCause) -> JobResult {
        let (Some(budget), FailureCause::BadRecords { skipped, place, message }) =
            (self.plan.skip_bad_records, cause)
        else {
            return Ok(());
        };
        let (place, message) = (place.clone(), message.clone());
        let example = Some(FailureCause::UserError { place, message });
        Err(Box::new(JobFailure::BadRecords { skipped: *skipped, of: None, budget, example }))
    }
}
