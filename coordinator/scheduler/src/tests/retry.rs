//! Which failures are retried, when, and how often.

use std::time::Duration;

use windrow_model::FailureCause;

use super::fixture::*;
use crate::*;

#[test]
fn a_task_that_fails_too_often_fails_the_job() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 0));
    f.fail(W1, map(0, 1), user_error());
    f.wait();
    f.fail(W1, map(0, 2), user_error());
    f.wait();
    assert_eq!(
        f.fail(W1, map(0, 3), user_error()),
        [
            cancel_attempt(W1, map(1, 1)),
            release(W1, J1),
            ended(J1, failed(map(0, 3), 3, user_error()))
        ]
    );
}

#[test]
fn a_fatal_cause_fails_the_job_at_once() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    let cause = FailureCause::Unsupported { message: "no such job".into() };
    let end = [release(W1, J1), ended(J1, failed(map(0, 1), 1, cause.clone()))];
    assert_eq!(f.fail(W1, map(0, 1), cause), end);
}

#[test]
fn a_changed_input_is_confirmed_by_a_second_worker() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 0));
    let cause = || FailureCause::InputChanged { file: "a.txt".into(), message: "shorter".into() };
    f.fail(W1, map(0, 1), cause());
    f.wait();
    assert_eq!(f.view(J1).map.attempts, 2);
    let end = f.fail(W2, map(0, 2), cause());
    assert!(end.contains(&ended(J1, failed(map(0, 2), 2, cause()))), "{end:?}");
}

#[test]
fn an_attempt_handed_back_is_retried_at_once_and_does_not_count() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    for n in 1..10 {
        let again = [assign_map(W1, map(0, n + 1))];
        assert_eq!(f.fail(W1, map(0, n), FailureCause::Cancelled), again);
    }
}

#[test]
fn pauses_double_up_to_a_maximum() {
    let config = Config {
        backoff_base: Duration::from_secs(1),
        backoff_max: Duration::from_secs(5),
        ..Config::default()
    };
    let mut f = Fixture::with_config(1, config);
    f.submit(JobPlan { max_attempts: 99, ..plan(1, 0) });
    for (n, longest) in [(1, 1), (2, 2), (3, 4), (4, 5), (5, 5), (40, 5)] {
        // The attempts in between fail as well, but are not checked.
        while f.view(J1).map.attempts < n {
            let failed = f.view(J1).map.attempts;
            f.fail(W1, map(0, failed), user_error());
            f.wait();
        }
        f.fail(W1, map(0, n), user_error());
        let pause = f.scheduler.next_deadline().expect("a retry").since(f.now);
        let longest = Duration::from_secs(longest);
        assert!(pause <= longest && pause >= longest * 3 / 4, "after failure {n}: {pause:?}");
        f.wait();
    }
}

#[test]
fn tasks_that_failed_together_are_not_retried_together() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 0));
    f.fail(W1, map(0, 1), user_error());
    f.fail(W1, map(1, 1), user_error());
    assert_eq!(f.wait().len(), 1);
    assert_eq!(f.wait().len(), 1);
}

#[test]
fn the_same_seed_gives_the_same_pauses() {
    let pause = |seed| {
        let mut f = Fixture::with_config(1, Config { seed, ..Config::default() });
        f.submit(plan(1, 0));
        f.fail(W1, map(0, 1), user_error());
        f.scheduler.next_deadline()
    };
    assert_eq!(pause(1), pause(1));
    assert_ne!(pause(1), pause(2));
}
