//! From splits to maps, to reduces, to a published output.

use super::fixture::*;
use crate::*;

fn published() -> Event {
    Event::Published { job: J1, result: Ok(()) }
}

#[test]
fn a_job_goes_from_maps_to_reduces_to_its_end() {
    let mut f = Fixture::new(2);
    let effects = f.submit(plan(2, 2));
    assert_eq!(effects, [accepted(J1), assign_map(W1, map(0, 1)), assign_map(W2, map(1, 1))]);

    assert_eq!(f.done(W2, map(1, 1)), []);
    let outputs = [(map(0, 1), W1), (map(1, 1), W2)];
    assert_eq!(
        f.done(W1, map(0, 1)),
        [
            assign_reduce(W1, reduce(0, 1), 1, &outputs),
            assign_reduce(W2, reduce(1, 1), 1, &outputs)
        ]
    );
    assert_eq!(f.done(W1, reduce(0, 1)), []);
    assert_eq!(f.done(W2, reduce(1, 1)), [publish(&[reduce(0, 1), reduce(1, 1)])]);
    assert_eq!(f.view(J1).state, JobState::Publishing);

    let end = [release(W1, J1), release(W2, J1), ended(J1, Outcome::Succeeded)];
    assert_eq!(f.handle(published()), end);
    assert_eq!(f.view(J1).state, JobState::Ended(Outcome::Succeeded));
}

#[test]
fn a_map_only_job_publishes_what_its_maps_wrote() {
    let mut f = Fixture::new(1);
    let effects = f.submit(plan(2, 0));
    assert_eq!(effects, [accepted(J1), assign_map(W1, map(0, 1)), assign_map(W1, map(1, 1))]);
    assert_eq!(f.done(W1, map(1, 1)), []);
    assert_eq!(f.done(W1, map(0, 1)), [publish(&[map(0, 1), map(1, 1)])]);
}

#[test]
fn without_splits_the_reduces_still_run() {
    let mut f = Fixture::new(1);
    let effects = f.submit(plan(0, 1));
    assert_eq!(effects, [accepted(J1), assign_reduce(W1, reduce(0, 1), 1, &[])]);
    assert_eq!(f.done(W1, reduce(0, 1)), [publish(&[reduce(0, 1)])]);
}

#[test]
fn a_map_only_job_without_splits_publishes_at_once_and_needs_no_worker() {
    let mut f = Fixture::new(0);
    assert_eq!(f.submit(plan(0, 0)), [accepted(J1), publish(&[])]);
    assert_eq!(f.scheduler.next_deadline(), None);
    assert_eq!(f.handle(published()), [ended(J1, Outcome::Succeeded)]);
}

#[test]
fn publication_counts_once_and_only_when_asked_for() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    assert_eq!(f.handle(published()), []);
    f.done(W1, map(0, 1));
    assert_eq!(f.handle(published()).len(), 2);
    assert_eq!(f.handle(published()), []);
}

#[test]
fn more_tasks_than_slots_run_in_order_as_slots_come_free() {
    let mut f = Fixture::new(1);
    assert_eq!(f.submit(plan(4, 0)).len(), 3);
    assert_eq!(f.done(W1, map(1, 1)), [assign_map(W1, map(2, 1))]);
    assert_eq!(f.done(W1, map(0, 1)), [assign_map(W1, map(3, 1))]);
}
