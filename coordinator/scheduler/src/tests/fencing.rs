//! Messages that are late, duplicated, or about attempts that never existed.

use windrow_model::{AttemptId, JobId, StageId, WorkerId};

use super::fixture::*;
use crate::*;

/// Checks that an event has no effect and changes no view. The reporter may get an answer.
fn ignored(f: &mut Fixture, event: Event) {
    let before: Vec<_> = f.scheduler.jobs().collect();
    let mut effects = f.handle(event.clone());
    effects.retain(|effect| !matches!(effect, Effect::Noted { .. }));
    assert_eq!(effects, [], "{event:?}");
    assert_eq!(f.scheduler.jobs().collect::<Vec<_>>(), before, "{event:?}");
}

fn done(worker: WorkerId, attempt: AttemptId) -> Event {
    let stats = AttemptStats { input_records: 1, ..AttemptStats::default() };
    Event::AttemptDone { worker, attempt, stats }
}

fn fail(worker: WorkerId, attempt: AttemptId) -> Event {
    Event::AttemptFailed { worker, attempt, cause: user_error() }
}

#[test]
fn reports_of_attempts_that_are_not_running_are_ignored() {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 1));
    f.done(W1, map(0, 1));
    f.fail(W2, map(1, 1), user_error());
    f.wait();
    let never = attempt(J1, StageId::MAP, 99, 1);
    let other_job = attempt(JobId(9), StageId::MAP, 0, 1);
    // Won already, given up, another worker's, not begun, of no task, of no job.
    for (worker, attempt) in [
        (W1, map(0, 1)),
        (W2, map(1, 1)),
        (W2, map(1, 2)),
        (W1, map(1, 3)),
        (W1, reduce(0, 1)),
        (W1, reduce(0, 0)),
        (W1, never),
        (W1, other_job),
        (WorkerId(99), map(1, 2)),
    ] {
        ignored(&mut f, done(worker, attempt));
        ignored(&mut f, fail(worker, attempt));
    }
    assert_eq!(f.view(J1).map.running, 1);
}

#[test]
fn every_repeated_report_is_answered() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 1));
    f.done(W1, map(0, 1));
    assert_eq!(f.handle(done(W1, map(0, 1))), [noted(W1, map(0, 1), true)]);
    f.fail(W1, map(1, 1), user_error());
    assert_eq!(f.handle(done(W1, map(1, 1))), [noted(W1, map(1, 1), false)]);
    assert_eq!(f.handle(fail(W1, map(1, 1))), [noted(W1, map(1, 1), false)]);
    assert_eq!(f.handle(done(WorkerId(99), map(1, 1))), [], "it has no session to hear it in");
}

#[test]
fn late_reports_of_a_lost_worker_are_ignored() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 0));
    f.leave(W1);
    ignored(&mut f, done(W1, map(0, 1)));
    let progress = AttemptProgress { attempt: map(0, 1), records: 1, bytes: 0, steps: 1 };
    ignored(&mut f, Event::Heartbeat { worker: W1, running: vec![progress] });
    ignored(&mut f, Event::WorkerDraining { worker: W1 });
    ignored(&mut f, Event::WorkerLeft { worker: W1, reason: "again".into() });
    assert_eq!(f.done(W2, map(0, 2)), [publish(&[map(0, 2)])]);
}

#[test]
fn reports_after_the_end_of_the_job_are_ignored() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 0));
    f.cancel(J1);
    ignored(&mut f, done(W1, map(0, 1)));
    ignored(&mut f, fail(W1, map(1, 1)));
    ignored(&mut f, Event::Published { job: J1, result: Ok(()) });
}

#[test]
fn an_attempt_that_should_not_run_is_cancelled_again() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 0));
    f.fail(W1, map(0, 1), user_error());
    let given_up = [cancel_attempt(W1, map(0, 1))];
    assert_eq!(f.heartbeat(W1, &[(map(0, 1), 1), (map(1, 1), 1)]), given_up);
    assert_eq!(f.heartbeat(W1, &[(map(0, 1), 2)]), given_up);
    f.cancel(J1);
    assert_eq!(f.heartbeat(W1, &[(map(1, 1), 2)]), [cancel_attempt(W1, map(1, 1))]);
}

#[test]
fn a_late_heartbeat_does_not_cancel_the_winner() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 1));
    f.done(W1, map(0, 1));
    assert_eq!(f.heartbeat(W1, &[(map(0, 1), 1)]), []);
}
