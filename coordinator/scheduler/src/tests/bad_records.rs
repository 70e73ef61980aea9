//! The budget of bad records.

use windrow_model::{AttemptId, BadRecordBudget, FailureCause, RecordPlace, WorkerId};

use super::fixture::*;
use crate::*;

fn skips(budget: &str, maps: usize, reduces: u32) -> (Fixture, BadRecordBudget) {
    let mut f = Fixture::new(1);
    let budget = budget.parse().unwrap();
    f.submit(JobPlan { skip_bad_records: Some(budget), ..plan(maps, reduces) });
    (f, budget)
}

/// An attempt succeeds that has read ten records and skipped some.
fn done(
    f: &mut Fixture,
    worker: WorkerId,
    attempt: AttemptId,
    skipped_records: u64,
) -> Vec<Effect> {
    let skipped_example = (skipped_records > 0).then(|| Box::new(user_error()));
    let stats =
        AttemptStats { input_records: 10, skipped_records, skipped_example, ..Default::default() };
    f.handle(Event::AttemptDone { worker, attempt, stats })
}

fn too_many(skipped: u64, of: Option<u64>, budget: BadRecordBudget) -> Effect {
    let example = Some(user_error());
    ended(J1, Outcome::Failed(JobFailure::BadRecords { skipped, of, budget, example }))
}

fn ends(effects: &[Effect]) -> Option<&Effect> {
    effects.iter().find(|effect| matches!(effect, Effect::Ended { .. }))
}

#[test]
fn a_count_covers_both_stages_and_fails_the_job_at_once() {
    let (mut f, budget) = skips("3", 2, 2);
    done(&mut f, W1, map(0, 1), 2);
    done(&mut f, W1, map(1, 1), 0);
    assert_eq!(ends(&done(&mut f, W1, reduce(0, 1), 1)), None);
    let effects = done(&mut f, W1, reduce(1, 1), 1);
    assert_eq!(ends(&effects), Some(&too_many(4, None, budget)));
}

#[test]
fn records_of_a_lost_output_are_not_counted_twice() {
    let (mut f, _) = skips("2", 1, 1);
    done(&mut f, W1, map(0, 1), 2);
    f.leave(W1);
    let worker = f.join(1, 1);
    let effects = done(&mut f, worker, map(0, 2), 2);
    assert_eq!(ends(&effects), None);
    assert_eq!(f.view(J1).skipped_records, 2);
}

#[test]
fn a_share_is_checked_at_the_end_of_a_stage() {
    let (mut f, budget) = skips("15%", 2, 1);
    // Two of ten are too many, but two of twenty are not.
    assert_eq!(ends(&done(&mut f, W1, map(0, 1), 2)), None);
    assert_eq!(ends(&done(&mut f, W1, map(1, 1), 1)), None);
    let effects = done(&mut f, W1, reduce(0, 1), 2);
    assert_eq!(ends(&effects), Some(&too_many(2, Some(10), budget)));
}

#[test]
fn an_attempt_that_stops_by_itself_fails_the_job() {
    let (mut f, budget) = skips("1", 1, 0);
    let place = RecordPlace::default();
    let cause = FailureCause::BadRecords { skipped: 2, place, message: "not a number".into() };
    assert_eq!(ends(&f.fail(W1, map(0, 1), cause)), Some(&too_many(2, None, budget)));
}
