//! Workers whose connection breaks: what they have kept still counts when they come back in time.

use std::collections::BTreeSet;
use std::time::Duration;

use windrow_model::{AttemptId, JobId, WorkerId};

use super::fixture::*;
use crate::*;

fn disconnect(f: &mut Fixture, worker: WorkerId) -> Vec<Effect> {
    f.handle(Event::WorkerDisconnected { worker, connection: REQUEST })
}

fn back(
    f: &mut Fixture,
    worker: WorkerId,
    running: &[AttemptId],
    unanswered: &[AttemptId],
    outputs: &[AttemptId],
) -> Vec<Effect> {
    let set = |attempts: &[AttemptId]| attempts.iter().copied().collect::<BTreeSet<_>>();
    let inventory =
        Inventory { running: set(running), unanswered: set(unanswered), outputs: set(outputs) };
    f.handle(Event::WorkerReturned { request: REQUEST, worker, inventory })
}

fn admitted(worker: WorkerId) -> Effect {
    Effect::Admitted { request: REQUEST, worker }
}

#[test]
fn a_worker_that_is_back_in_time_goes_on_and_gets_nothing_meanwhile() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    assert_eq!(disconnect(&mut f, W1), []);
    assert!(f.worker(W1).away);
    assert_eq!(f.submit(plan(1, 0)), [accepted(J2)], "nobody is there to run it");
    let other = attempt(J2, windrow_model::StageId::MAP, 0, 1);
    assert_eq!(
        back(&mut f, W1, &[map(0, 1)], &[], &[]),
        [admitted(W1), assign_map(W1, other)],
        "what it runs goes on, and it has a free slot"
    );
    assert_eq!(f.view(J1).map.attempts, 1);
}

#[test]
fn the_end_of_a_former_connection_means_nothing() {
    let mut f = Fixture::new(1);
    let connection = RequestId(99);
    assert_eq!(f.handle(Event::WorkerDisconnected { worker: W1, connection }), []);
    assert!(!f.worker(W1).away);
}

#[test]
fn a_worker_that_stays_away_is_lost_soon() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 0));
    disconnect(&mut f, W1);
    let effects = f.wait();
    assert_eq!(f.now, Time(Config::default().reconnect));
    assert_eq!(effects[1..], [assign_map(W2, map(0, 2))]);
    assert_eq!(back(&mut f, W1, &[map(0, 1)], &[], &[]), [Effect::TooLate { request: REQUEST }]);
}

#[test]
fn where_most_break_off_it_is_not_they_who_are_at_fault() {
    let lease = Duration::from_secs(60);
    let mut f = Fixture::without_workers(Config { lease, ..Config::default() });
    for _ in 0..4 {
        f.join(2, 2);
    }
    for (index, worker) in [W1, W2, W3].into_iter().enumerate() {
        f.now = Time(Duration::from_millis(100 * index as u64));
        disconnect(&mut f, worker);
        let patience_ends = Time(Config::default().reconnect);
        let expected = if index < 2 { patience_ends } else { Time(lease) };
        assert_eq!(f.scheduler.next_deadline(), Some(expected), "{index}");
    }
    // When they are back, one that breaks off is on its own again.
    f.now = Time(lease / 2);
    for worker in [W1, W2, W3] {
        back(&mut f, worker, &[], &[], &[]);
    }
    disconnect(&mut f, W2);
    assert_eq!(f.scheduler.next_deadline(), Some(f.now + Config::default().reconnect));
}

/// Two of five break off; then two others leave, and the last one breaks off: the first two are
/// part of that.
#[test]
fn those_that_became_most_because_others_left_have_their_leases_too() {
    let lease = Duration::from_secs(60);
    let mut f = Fixture::without_workers(Config { lease, ..Config::default() });
    for _ in 0..5 {
        f.join(2, 2);
    }
    disconnect(&mut f, W1);
    disconnect(&mut f, W2);
    f.leave(WorkerId(4));
    f.leave(WorkerId(5));
    assert_eq!(f.scheduler.next_deadline(), Some(f.now + Config::default().reconnect));
    disconnect(&mut f, W3);
    assert_eq!(f.scheduler.next_deadline(), Some(Time(lease)));
}

#[test]
fn an_assignment_that_did_not_arrive_is_told_again() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 0));
    disconnect(&mut f, W1);
    assert_eq!(back(&mut f, W1, &[map(1, 1)], &[], &[]), [admitted(W1), assign_map(W1, map(0, 1))]);
    assert_eq!(f.view(J1).map.attempts, 2, "it is the same attempt");
}

#[test]
fn a_report_that_was_not_answered_counts_when_it_is_told_again() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    disconnect(&mut f, W1);
    assert_eq!(back(&mut f, W1, &[], &[map(0, 1)], &[]), [admitted(W1)]);
    assert_eq!(f.done(W1, map(0, 1)), [publish(&[map(0, 1)])]);
}

#[test]
fn outputs_that_it_does_not_have_any_more_are_redone() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 1));
    f.done(W1, map(0, 1));
    f.done(W1, map(1, 1));
    disconnect(&mut f, W1);
    assert_eq!(
        back(&mut f, W1, &[reduce(0, 1)], &[], &[map(1, 1)]),
        [admitted(W1), assign_map(W1, map(0, 2))]
    );
}

#[test]
fn what_is_not_wanted_any_more_is_cancelled_or_released() {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 1));
    f.done(W1, map(0, 1));
    f.submit(plan(1, 1));
    disconnect(&mut f, W1);
    f.cancel(J2);
    let of_other = attempt(J2, windrow_model::StageId::MAP, 0, 1);
    let never = map(1, 7);
    let effects = back(&mut f, W1, &[of_other], &[], &[map(0, 1), never]);
    assert_eq!(effects, [admitted(W1), cancel_attempt(W1, never), release(W1, J2)]);
}

#[test]
fn a_message_that_arrives_while_it_is_away_still_counts() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    disconnect(&mut f, W1);
    f.pass(Duration::from_millis(1));
    assert_eq!(f.done(W1, map(0, 1)), [publish(&[map(0, 1)])]);
}

#[test]
fn a_job_whose_workers_are_all_away_says_so() {
    let mut f = Fixture::new(2);
    disconnect(&mut f, W1);
    disconnect(&mut f, W2);
    f.submit(plan(1, 0));
    assert_eq!(f.view(J1).waiting, Some(Waiting::Away { worker: W1, workers: 2 }));
    back(&mut f, W2, &[], &[], &[]);
    assert_eq!(f.view(J1).waiting, None, "it runs");
    f.submit(plan(1, 0));
    f.submit(plan(1, 0));
    assert_eq!(f.view(JobId(3)).waiting, Some(Waiting::Slots));
}
