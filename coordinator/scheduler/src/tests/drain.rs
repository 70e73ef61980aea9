//! Draining workers.

use super::fixture::*;
use crate::*;

fn drained(worker: windrow_model::WorkerId) -> Effect {
    Effect::Drained { worker }
}

#[test]
fn an_idle_worker_may_go_at_once_and_is_told_again_when_it_asks_again() {
    let mut f = Fixture::new(2);
    assert_eq!(f.drain(W1), [drained(W1)]);
    assert_eq!(f.heartbeat(W1, &[]), []);
    assert_eq!(f.drain(W1), [drained(W1)]);
    assert_eq!(f.leave(W1), []);
}

#[test]
fn a_draining_worker_finishes_its_attempts_and_gets_no_new_ones() {
    let mut f = Fixture::new(2);
    f.submit(plan(5, 0));
    assert_eq!(f.drain(W1), []);
    assert_eq!(f.done(W1, map(0, 1)), []);
    assert_eq!(f.done(W1, map(2, 1)), [drained(W1)]);
    assert_eq!(f.done(W2, map(1, 1)), [assign_map(W2, map(4, 1))]);
    assert_eq!(f.view(J1).map.done, 3);
}

#[test]
fn a_worker_that_hands_its_tasks_back_may_go_at_once() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 1));
    f.drain(W1);
    let handed_back = windrow_model::FailureCause::Cancelled;
    assert_eq!(f.fail(W1, map(0, 1), handed_back), [assign_map(W2, map(0, 2)), drained(W1)]);
}

#[test]
fn a_draining_worker_serves_outputs_until_all_reducers_are_done() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 1));
    f.done(W1, map(0, 1));
    // The reduce runs on W1 itself.
    assert_eq!(f.drain(W1), []);
    let cause = windrow_model::FailureCause::Cancelled;
    let outputs = [(map(0, 1), W1)];
    assert_eq!(f.fail(W1, reduce(0, 1), cause), [assign_reduce(W2, reduce(0, 2), 1, &outputs)]);
    assert_eq!(f.done(W2, reduce(0, 2)), [publish(&[reduce(0, 2)]), drained(W1)]);
}

#[test]
fn the_end_of_its_job_lets_a_worker_go() {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 1));
    f.done(W1, map(0, 1));
    assert_eq!(f.drain(W1), []);
    assert_eq!(f.cancel(J1).last(), Some(&drained(W1)));
}

#[test]
fn the_loss_of_its_output_lets_a_worker_go() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 2));
    f.done(W1, map(0, 1));
    f.drain(W1);
    f.fail(W1, reduce(0, 1), not_fetched(map(0, 1), W1));
    assert_eq!(
        f.fail(W2, reduce(1, 1), not_fetched(map(0, 1), W1)),
        [assign_map(W2, map(0, 2)), drained(W1)]
    );
}

#[test]
fn a_worker_that_leaves_early_is_lost() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 1));
    f.done(W1, map(0, 1));
    f.drain(W1);
    assert_eq!(f.leave(W1), [assign_map(W2, map(0, 2))]);
}
