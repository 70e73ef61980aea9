//! Workers whose connection breaks: their work still counts if they return in time.

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
fn a_worker_that_returns_in_time_goes_on_and_gets_no_task_meanwhile() {
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
fn the_end_of_a_former_connection_is_ignored() {
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
fn when_most_workers_disconnect_each_has_its_whole_lease() {
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
    // Once they are back, a single worker that disconnects has little time again.
    f.now = Time(lease / 2);
    for worker in [W1, W2, W3] {
        back(&mut f, worker, &[], &[], &[]);
    }
    disconnect(&mut f, W2);
    assert_eq!(f.scheduler.next_deadline(), Some(f.now + Config::default().reconnect));
}

/// Two of five disconnect; then two others leave, and the last one disconnects: the first two are
/// now part of the majority.
#[test]
fn workers_that_became_the_majority_have_their_whole_leases() {
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
fn a_lost_assignment_is_repeated() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 0));
    disconnect(&mut f, W1);
    assert_eq!(back(&mut f, W1, &[map(1, 1)], &[], &[]), [admitted(W1), assign_map(W1, map(0, 1))]);
    assert_eq!(f.view(J1).map.attempts, 2, "it is the same attempt");
}

#[test]
fn an_unanswered_report_counts_when_it_is_repeated() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    disconnect(&mut f, W1);
    assert_eq!(back(&mut f, W1, &[], &[map(0, 1)], &[]), [admitted(W1)]);
    assert_eq!(f.done(W1, map(0, 1)), [publish(&[map(0, 1)])]);
}

#[test]
fn outputs_that_a_returning_worker_lacks_are_made_again() {
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
fn unwanted_attempts_are_cancelled_and_ended_jobs_released() {
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
fn the_view_reports_that_all_workers_are_away() {
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
