//! Publications that fail, by transient faults and permanently.

use windrow_model::FailureCause;

use super::fixture::*;
use crate::*;

fn io(message: &str) -> FailureCause {
    FailureCause::Io { path: "/out".into(), message: message.into(), disk_full: false }
}

fn unpublished(cause: &FailureCause, may_pass: bool) -> Event {
    let failure = Unpublished { cause: Box::new(cause.clone()), may_pass };
    Event::Published { job: J1, result: Err(failure) }
}

fn published() -> Event {
    Event::Published { job: J1, result: Ok(()) }
}

fn failed_for(cause: &FailureCause) -> [Effect; 2] {
    let failed = Outcome::Failed(JobFailure::Publish(cause.clone()));
    [release(W1, J1), ended(J1, failed)]
}

/// Its one map task is done, and it is being published.
fn publishing(publish_failures_max: u32) -> Fixture {
    let mut f = Fixture::with_config(1, Config { publish_failures_max, ..Config::default() });
    f.submit(plan(1, 0));
    assert_eq!(f.done(W1, map(0, 1)), [publish(&[map(0, 1)])]);
    f
}

#[test]
fn a_transient_failure_is_retried_after_a_pause_and_the_view_says_why() {
    let mut f = publishing(10);
    let stale = io("stale file handle");
    assert_eq!(f.handle(unpublished(&stale, true)), []);
    let again_at = f.scheduler.next_deadline().expect("it is tried again");
    assert!(again_at > f.now, "after a pause");
    let view = f.view(J1);
    assert_eq!(view.state, JobState::Publishing);
    let cause = Box::new(stale);
    assert_eq!(view.waiting, Some(Waiting::Publication { again_at, cause }));
    assert_eq!(f.wait(), [publish(&[map(0, 1)])]);
    assert_eq!(f.view(J1).waiting, None, "it is under way");
    assert_eq!(f.handle(published()), [release(W1, J1), ended(J1, Outcome::Succeeded)]);
}

#[test]
fn a_permanent_failure_fails_the_job_at_once() {
    let mut f = publishing(10);
    let foreign = io("a foreign file is in the way");
    assert_eq!(f.handle(unpublished(&foreign, false)), failed_for(&foreign));
}

#[test]
fn one_failure_too_many_fails_the_job_with_the_last_cause() {
    let mut f = publishing(3);
    for _ in 0..2 {
        assert_eq!(f.handle(unpublished(&io("timed out"), true)), []);
        assert_eq!(f.wait(), [publish(&[map(0, 1)])]);
    }
    let last = io("no route to host");
    assert_eq!(f.handle(unpublished(&last, true)), failed_for(&last));
    assert_eq!(f.scheduler.next_deadline(), Some(f.lease_ends()), "no timer is left");
}

#[test]
fn pauses_between_publications_grow() {
    let mut f = publishing(10);
    let pauses: Vec<_> = (0..9)
        .map(|_| {
            f.handle(unpublished(&io("timed out"), true));
            let before = f.now;
            f.wait();
            f.now.since(before)
        })
        .collect();
    assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    assert!(pauses.iter().sum::<std::time::Duration>().as_secs() > 60, "a server may restart");
}

#[test]
fn a_job_that_waits_to_be_published_can_be_cancelled() {
    let mut f = publishing(10);
    f.handle(unpublished(&io("timed out"), true));
    let answer = Effect::CancelAnswered { request: REQUEST, cancelled: true };
    assert_eq!(f.cancel(J1), [answer, release(W1, J1), ended(J1, Outcome::Cancelled)]);
    assert_eq!(f.scheduler.next_deadline(), Some(f.lease_ends()), "no timer is left");
}

#[test]
fn a_cancelled_publication_is_no_failure() {
    let mut f = publishing(1);
    assert_eq!(f.handle(unpublished(&FailureCause::Cancelled, true)), []);
    let answer = Effect::CancelAnswered { request: REQUEST, cancelled: true };
    assert_eq!(f.cancel(J1), [answer, release(W1, J1), ended(J1, Outcome::Cancelled)]);
}

#[test]
fn a_failure_reported_twice_counts_once() {
    let mut f = publishing(2);
    f.handle(unpublished(&io("timed out"), true));
    let deadline = f.scheduler.next_deadline();
    assert_eq!(f.handle(unpublished(&io("timed out"), true)), []);
    assert_eq!(f.scheduler.next_deadline(), deadline);
}

#[test]
fn a_takeover_keeps_the_pause_before_a_publication() {
    let mut f = publishing(10);
    f.handle(unpublished(&io("timed out"), true));
    let deadline = f.scheduler.next_deadline();
    assert_eq!(f.handle(Event::TookOver { config: Config::default() }), []);
    assert_eq!(f.scheduler.next_deadline(), deadline);
    assert_eq!(f.wait(), [publish(&[map(0, 1)])]);
}
