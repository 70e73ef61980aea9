//! Processes that die: which tasks are suspects, and which records are left out.

use windrow_model::{
    AttemptId, BadRecordBudget, Death, FailureCause, MemoryLimit, RecordPlace, StageId,
};

use super::fixture::*;
use crate::*;

fn died(alone: bool, place: RecordPlace) -> FailureCause {
    let (death, output) = (Death::Signal(11), String::new());
    FailureCause::ProcessDied { death, alone, place: Box::new(place), output }
}

fn died_in_company() -> FailureCause {
    died(false, RecordPlace::default())
}

fn died_alone() -> FailureCause {
    died(true, RecordPlace::default())
}

fn record(offset: u64) -> RecordPlace {
    RecordPlace::in_file("/in").at(offset)
}

fn skipping(budget: &str, splits: usize) -> JobPlan {
    let budget: BadRecordBudget = budget.parse().expect("a budget");
    JobPlan { skip_bad_records: Some(budget), ..plan(splits, 0) }
}

#[test]
fn suspects_of_a_death_run_first_and_alone() {
    let mut f = Fixture::new(1);
    f.submit(plan(4, 0));
    assert_eq!(f.fail(W1, map(0, 1), died_in_company()), [assign_alone(W1, map(0, 2), &[])]);
    assert_eq!(f.fail(W1, map(1, 1), died_in_company()), [assign_alone(W1, map(1, 2), &[])]);
    assert_eq!(f.done(W1, map(0, 2)), [assign_map(W1, map(2, 1))]);
}

#[test]
fn only_success_clears_a_suspect() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 1));
    f.fail(W1, map(0, 1), died_in_company());
    f.fail(W1, map(0, 2), user_error());
    assert_eq!(f.wait(), [assign_alone(W1, map(0, 3), &[])]);
    f.done(W1, map(0, 3));
    let lost = Event::OutputsLost { worker: W1, outputs: vec![map(0, 3)] };
    assert_eq!(f.handle(lost), [assign_map(W1, map(0, 4))]);
}

#[test]
fn a_death_alone_counts_as_a_failure() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    f.fail(W1, map(0, 1), died_alone());
    assert_eq!(f.wait(), [assign_alone(W1, map(0, 2), &[])]);
    let memory = FailureCause::OutOfMemory {
        limit_bytes: 9,
        limit: MemoryLimit::Process,
        alone: true,
        place: RecordPlace::default(),
    };
    f.fail(W1, map(0, 2), memory);
    f.wait();
    let end = [release(W1, J1), ended(J1, failed(map(0, 3), 3, died_alone()))];
    assert_eq!(f.fail(W1, map(0, 3), died_alone()), end);
}

#[test]
fn deaths_in_company_have_a_limit_of_their_own() {
    let mut f = Fixture::with_config(1, Config { deaths_max: 3, ..Config::default() });
    f.submit(JobPlan { max_attempts: 1, ..plan(1, 0) });
    for n in 1..3 {
        let again = [assign_alone(W1, map(0, n + 1), &[])];
        assert_eq!(f.fail(W1, map(0, n), died_in_company()), again);
    }
    let end = [release(W1, J1), ended(J1, failed(map(0, 3), 3, died_in_company()))];
    assert_eq!(f.fail(W1, map(0, 3), died_in_company()), end);
}

#[test]
fn a_suspect_precedes_tasks_with_more_affinity() {
    let mut f = Fixture::without_workers(Config { backup_after: None, ..Config::default() });
    let splits = (0..20).map(|n| SplitPlan { bytes: 1, affinity: n }).collect();
    f.submit(JobPlan { splits, ..plan(0, 0) });
    f.join(1, 1);
    let job = f.scheduler.jobs.get(J1).expect("it runs");
    let (first, _) =
        job.stage(StageId::MAP).tasks().running_attempts().next().expect("one attempt");
    let again = AttemptId { number: 2, ..first };
    assert_eq!(f.fail(W1, first, died_in_company()), [assign_alone(W1, again, &[])]);
}

#[test]
fn a_record_that_kills_its_process_is_left_out_and_costs_no_attempt() {
    let mut f = Fixture::new(1);
    f.submit(JobPlan { max_attempts: 1, ..skipping("2", 1) });
    let again = f.fail(W1, map(0, 1), died(true, record(3)));
    assert_eq!(again, [assign_alone(W1, map(0, 2), &[record(3)])]);
    let again = f.fail(W1, map(0, 2), died(true, record(5)));
    assert_eq!(again, [assign_alone(W1, map(0, 3), &[record(3), record(5)])]);
    let stats = AttemptStats { skipped_records: 2, ..AttemptStats::default() };
    let done = Event::AttemptDone { worker: W1, attempt: map(0, 3), stats };
    assert_eq!(f.handle(done)[1..], [publish(&[map(0, 3)])]);
    assert_eq!(f.view(J1).skipped_records, 2);
}

#[test]
fn a_group_is_left_out_by_its_key() {
    let mut f = Fixture::new(1);
    f.submit(JobPlan { partitions: 1, ..skipping("1", 1) });
    f.done(W1, map(0, 1));
    let key = RecordPlace::of_key("k".into());
    let again = f.fail(W1, reduce(0, 1), died(true, key.clone()));
    let Effect::Assign { alone: true, skip, outputs: Some(_), .. } = &again[0] else {
        panic!("not tried alone: {again:?}")
    };
    assert_eq!(skip[..], [killed_by(&key)]);
}

#[test]
fn more_poison_than_the_budget_fails_the_job() {
    let mut f = Fixture::new(1);
    f.submit(skipping("1", 1));
    f.fail(W1, map(0, 1), died(true, record(3)));
    let last = died(true, record(5));
    let budget = BadRecordBudget::Records(1);
    let failure =
        JobFailure::BadRecords { skipped: 2, of: None, budget, example: Some(last.clone()) };
    let end = [release(W1, J1), ended(J1, Outcome::Failed(failure))];
    assert_eq!(f.fail(W1, map(0, 2), last), end);
}

#[test]
fn records_that_other_tasks_skipped_count_too() {
    let mut f = Fixture::new(1);
    f.submit(skipping("1", 2));
    let stats = AttemptStats { skipped_records: 1, ..AttemptStats::default() };
    f.handle(Event::AttemptDone { worker: W1, attempt: map(0, 1), stats });
    f.fail(W1, map(1, 1), died(true, record(3)));
    let state = f.view(J1).state;
    let JobState::Ended(Outcome::Failed(JobFailure::BadRecords { skipped: 2, .. })) = state else {
        panic!("{state:?}")
    };
}

#[test]
fn the_search_for_poison_of_one_task_is_bounded() {
    let mut f = Fixture::with_config(1, Config { poison_max: 1, ..Config::default() });
    f.submit(skipping("50%", 1));
    f.fail(W1, map(0, 1), died(true, record(3)));
    let cause = died(true, record(5));
    let failure = JobFailure::Poison { task: map(0, 1).task, records: 2, cause: cause.clone() };
    let end = [release(W1, J1), ended(J1, Outcome::Failed(failure))];
    assert_eq!(f.fail(W1, map(0, 2), cause), end);
}

#[test]
fn a_record_that_kills_although_it_is_left_out_counts_as_a_failure() {
    let mut f = Fixture::new(1);
    f.submit(JobPlan { max_attempts: 2, ..skipping("9", 1) });
    f.fail(W1, map(0, 1), died(true, record(3)));
    f.fail(W1, map(0, 2), died(true, record(3)));
    assert_eq!(f.wait(), [assign_alone(W1, map(0, 3), &[record(3)])]);
    let cause = died(true, record(3));
    let end = [release(W1, J1), ended(J1, failed(map(0, 3), 3, cause.clone()))];
    assert_eq!(f.fail(W1, map(0, 3), cause), end);
}

#[test]
fn no_record_is_left_out_without_a_budget_or_on_suspicion_alone() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    f.fail(W1, map(0, 1), died(true, record(3)));
    assert_eq!(f.wait(), [assign_alone(W1, map(0, 2), &[])]);
    let mut f = Fixture::new(1);
    f.submit(skipping("9", 1));
    let again = f.fail(W1, map(0, 1), died(false, record(3)));
    assert_eq!(again, [assign_alone(W1, map(0, 2), &[])]);
}

#[test]
fn a_backup_that_would_die_of_the_same_record_is_given_up() {
    let mut f = Fixture::new(2);
    f.submit(JobPlan { max_attempts: 1, ..skipping("9", 1) });
    let backed_up = f.handle(Event::BackUp { attempts: vec![map(0, 1)] });
    assert_eq!(backed_up, [assign_map(W2, map(0, 2))]);
    let skip = [record(3)];
    assert_eq!(
        f.fail(W1, map(0, 1), died(true, record(3))),
        [cancel_attempt(W2, map(0, 2)), assign_alone(W1, map(0, 3), &skip)]
    );
    // The report of its death was on its way already.
    let late =
        Event::AttemptFailed { worker: W2, attempt: map(0, 2), cause: died(true, record(3)) };
    assert_eq!(f.handle(late), [noted(W2, map(0, 2), false)]);
}

#[test]
fn a_suspected_record_is_poison_after_a_second_death() {
    let mut f = Fixture::new(1);
    f.submit(JobPlan { max_attempts: 4, ..skipping("9", 1) });
    let too_large = |place| FailureCause::OutOfMemory {
        limit_bytes: 9,
        limit: MemoryLimit::Process,
        alone: true,
        place,
    };
    f.fail(W1, map(0, 1), too_large(record(3)));
    assert_eq!(f.wait(), [assign_alone(W1, map(0, 2), &[])]);
    f.fail(W1, map(0, 2), too_large(record(5)));
    assert_eq!(f.wait(), [assign_alone(W1, map(0, 3), &[])], "not twice at the same record");
    let again = f.fail(W1, map(0, 3), too_large(record(5)));
    let [Effect::Assign { alone: true, skip, .. }] = &again[..] else { panic!("{again:?}") };
    assert_eq!(skip.iter().map(|bad| &bad.place).collect::<Vec<_>>(), [&record(5)]);
}
