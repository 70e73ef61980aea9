//! How many bad records a job may skip.
//!
//! Winners alone count, so that a task that is run twice does not pay twice. A budget that is a
//! count holds for the whole job, and is looked at with each winner; one that is a share is looked
//! at when a stage is done, for only then is it known of how many.

use windrow_model::{BadRecordBudget, FailureCause, StageId};

use crate::effect::JobFailure;
use crate::job::{Job, JobResult};

impl Job {
    /// Bad records that the winners have skipped.
    pub(crate) fn skipped_records(&self) -> u64 {
        let (map, reduce) = (&self.map.totals, &self.reduce.totals);
        map.skipped_records.saturating_add(reduce.skipped_records)
    }

    /// Fails the job if its winners have skipped too much. `example` is what the last of them has
    /// met in `stage`.
    pub(crate) fn check_bad_records(
        &self,
        stage: StageId,
        example: Option<&FailureCause>,
    ) -> JobResult {
        // Workers skip nothing unless they are told to.
        let Some(budget) = self.plan.skip_bad_records else { return Ok(()) };
        let totals = &self.tasks(stage).totals;
        let (skipped, of) = match budget {
            BadRecordBudget::Records(_) => (self.skipped_records(), None),
            BadRecordBudget::Share(_) if self.tasks(stage).all_done() => {
                (totals.skipped_records, Some(totals.input_records))
            }
            BadRecordBudget::Share(_) => return Ok(()),
        };
        if budget.covers(skipped, of.unwrap_or_default()) {
            return Ok(());
        }
        debug_assert!(skipped > 0, "every budget covers nothing");
        let example = example.or(self.tasks(stage).skipped_example.as_deref()).cloned();
        Err(Box::new(JobFailure::BadRecords { skipped, of, budget, example }))
    }

    /// Fails the job if an attempt has stopped because it skipped too much all by itself.
    pub(crate) fn check_attempt_alone(&self, cause: &FailureCause) -> JobResult {
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
