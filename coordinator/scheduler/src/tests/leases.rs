//! A worker is lost when its lease ends.

use std::time::Duration;

use super::fixture::*;
use crate::*;

const LEASE: Duration = Duration::from_secs(10);

fn with_lease(workers: usize) -> Fixture {
    let config = Config { lease: LEASE, backup_after: None, ..Config::default() };
    let mut f = Fixture::without_workers(config);
    for _ in 0..workers {
        f.join(2, 2);
    }
    f
}

fn end_session(worker: windrow_model::WorkerId) -> Effect {
    Effect::EndSession { worker, reason: "silent for 10 s".into() }
}

#[test]
fn a_silent_worker_is_lost_in_the_transition_that_ends_its_session() {
    let mut f = with_lease(2);
    f.submit(plan(1, 0));
    f.pass(Duration::from_secs(9));
    f.heartbeat(W2, &[]);
    assert_eq!(f.scheduler.next_deadline(), Some(Time(LEASE)));
    assert_eq!(f.wait(), [end_session(W1), assign_map(W2, map(0, 2))]);
    assert_eq!(f.scheduler.worker(W1), None);
    // The end of the session is reported, too, and loses nothing more.
    assert_eq!(f.leave(W1), []);
}

#[test]
fn workers_that_are_lost_together_get_no_tasks_of_each_other() {
    let mut f = with_lease(2);
    f.submit(plan(2, 0));
    let effects = f.wait();
    assert_eq!(effects, [end_session(W1), end_session(W2)]);
}

#[test]
fn any_message_renews_the_lease() {
    let mut f = with_lease(1);
    f.submit(plan(5, 0));
    let messages = [
        Event::Heartbeat { worker: W1, running: vec![] },
        Event::AttemptDone { worker: W1, attempt: map(0, 1), stats: AttemptStats::default() },
        Event::AttemptFailed { worker: W1, attempt: map(1, 1), cause: user_error() },
        // Even a late message.
        Event::AttemptDone { worker: W1, attempt: map(0, 1), stats: AttemptStats::default() },
        Event::WorkerDraining { worker: W1 },
    ];
    for message in messages {
        f.now = f.now + Duration::from_secs(9);
        f.handle(message.clone());
        let mut effects = Vec::new();
        f.scheduler.handle_deadline(f.now, &mut effects);
        let heard = f.scheduler.worker(W1).map(|worker| worker.heard);
        assert_eq!(heard, Some(f.now), "after {message:?}");
    }
}

#[test]
fn a_deadline_that_is_not_due_yet_changes_nothing() {
    let mut f = with_lease(1);
    f.submit(plan(1, 0));
    let mut effects = Vec::new();
    f.scheduler.handle_deadline(Time(Duration::from_millis(9_999)), &mut effects);
    assert_eq!(effects, []);
}
