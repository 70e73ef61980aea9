//! Several jobs at once.

use windrow_jobs::{JobId, Stage};

use super::fixture::*;
use crate::*;

fn jobs_assigned(effects: &[Effect]) -> Vec<JobId> {
    let job = |effect: &Effect| match effect {
        Effect::Assign { attempt, .. } => Some(attempt.task.job),
        _ => None,
    };
    effects.iter().filter_map(job).collect()
}

#[test]
fn the_job_with_fewest_running_attempts_goes_first() {
    let mut f = Fixture::new(2);
    f.submit(plan(8, 0));
    f.submit(plan(8, 0));
    // The first job has all four slots, until each has two.
    assert_eq!(jobs_assigned(&f.done(W1, map(0, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W2, map(1, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W1, map(2, 1))), [J1]);
}

#[test]
fn jobs_take_turns_at_a_single_slot() {
    let mut f = Fixture::new(0);
    f.join(1, 1);
    f.submit(plan(3, 0));
    f.submit(plan(3, 0));
    assert_eq!(jobs_assigned(&f.done(W1, map(0, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W1, attempt(J2, Stage::Map, 0, 1))), [J1]);
    assert_eq!(jobs_assigned(&f.done(W1, map(1, 1))), [J2]);
}

#[test]
fn a_larger_priority_goes_first_whatever_it_runs_already() {
    let mut f = Fixture::new(1);
    f.submit(plan(8, 0));
    f.submit(JobPlan { priority: 1, ..plan(8, 0) });
    assert_eq!(jobs_assigned(&f.done(W1, map(0, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W1, map(1, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W1, attempt(J2, Stage::Map, 0, 1))), [J2]);
}

#[test]
fn a_job_that_waits_for_reduce_slots_leaves_map_slots_to_others() {
    let mut f = Fixture::new(0);
    f.join(2, 1);
    f.submit(JobPlan { priority: 9, ..plan(1, 2) });
    f.done(W1, map(0, 1));
    assert_eq!(jobs_assigned(&f.submit(plan(1, 0))), [J2]);
}
