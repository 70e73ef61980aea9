//! What the maps wrote is what the reducers read, or the job fails.

use windrow_jobs::{AttemptId, Audit, WorkerId};

use super::fixture::*;
use crate::*;

fn done(f: &mut Fixture, worker: WorkerId, attempt: AttemptId, audit: u64) -> Vec<Effect> {
    let mut effects = f.handle(Event::AttemptDone { worker, attempt, stats: audited(audit) });
    assert_eq!(effects.remove(0), noted(worker, attempt, true));
    effects
}

/// W1 has done map 0, with digest 10; W2 map 1, with digest 20; two reduces run, one on each.
fn in_reduce() -> Fixture {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 2));
    done(&mut f, W1, map(0, 1), 10);
    done(&mut f, W2, map(1, 1), 20);
    f
}

#[test]
fn a_job_whose_reducers_read_something_else_fails_and_publishes_nothing() {
    let mut f = in_reduce();
    done(&mut f, W1, reduce(0, 1), 15);
    let effects = done(&mut f, W2, reduce(1, 1), 16);
    let written = Audit { records: 2, digest: 30 };
    let failure = JobFailure::Audit { written, read: Audit { records: 2, digest: 31 } };
    assert_eq!(effects.last(), Some(&ended(J1, Outcome::Failed(failure))));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Publish { .. })));
}

#[test]
fn the_same_output_made_again_is_as_good_as_the_first() {
    let mut f = in_reduce();
    done(&mut f, W2, reduce(1, 1), 15);
    assert_eq!(f.leave(W1), [assign_map(W2, map(0, 2))]);
    let effects = done(&mut f, W2, map(0, 2), 10);
    assert_eq!(effects, [assign_reduce(W2, reduce(0, 2), 2, &[(map(0, 2), W2), (map(1, 1), W2)])]);
    assert_eq!(f.view(J1).nondeterministic, None);
    assert_eq!(done(&mut f, W2, reduce(0, 2), 15), [publish(&[reduce(0, 2), reduce(1, 1)])]);
}

#[test]
fn another_output_makes_reducers_that_read_the_first_run_again() {
    let mut f = in_reduce();
    done(&mut f, W2, reduce(1, 1), 15);
    f.leave(W1);
    let effects = done(&mut f, W2, map(0, 2), 11);
    let outputs = [(map(0, 2), W2), (map(1, 1), W2)];
    let again = [
        assign_reduce(W2, reduce(0, 2), 2, &outputs),
        assign_reduce(W2, reduce(1, 2), 2, &outputs),
    ];
    assert_eq!(effects, again);
    assert_eq!(f.view(J1).nondeterministic, Some(0));
    done(&mut f, W2, reduce(0, 2), 15);
    assert_eq!(done(&mut f, W2, reduce(1, 2), 16), [publish(&[reduce(0, 2), reduce(1, 2)])]);
}

#[test]
fn reducers_that_still_run_are_stopped_too() {
    let mut f = in_reduce();
    // Map 1's output is lost twice over, by the reports of two attempts.
    f.fail(W1, reduce(0, 1), not_fetched(map(1, 1), W2));
    f.wait();
    let lost = f.fail(W2, reduce(0, 2), not_fetched(map(1, 1), W2));
    assert_eq!(lost, [assign_map(W1, map(1, 2))]);
    let effects = done(&mut f, W1, map(1, 2), 21);
    assert!(effects.contains(&cancel_attempt(W2, reduce(1, 1))), "{effects:?}");
    assert_eq!(f.view(J1).reduce.running, 2);
}

#[test]
fn a_map_that_is_redone_when_all_reducers_are_done_does_not_matter() {
    let mut f = in_reduce();
    done(&mut f, W2, reduce(1, 1), 15);
    done(&mut f, W1, reduce(0, 1), 15);
    assert_eq!(f.view(J1).state, JobState::Publishing);
}
