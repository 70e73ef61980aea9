//! Attempts that make no progress.

use std::time::Duration;

use windrow_model::FailureCause;

use super::fixture::*;
use crate::*;

const TIMEOUT: Duration = Duration::from_secs(60);

fn running() -> Fixture {
    let mut f = Fixture::new(2);
    f.submit(JobPlan { task_timeout: TIMEOUT, max_attempts: 2, ..plan(1, 0) });
    f
}

#[test]
fn a_stalled_attempt_is_cancelled_and_run_elsewhere() {
    let mut f = running();
    assert_eq!(f.scheduler.next_deadline(), Some(Time(TIMEOUT)));
    assert_eq!(f.wait(), [cancel_attempt(W1, map(0, 1))]);
    assert_eq!(f.wait(), [assign_map(W2, map(0, 2))]);
}

#[test]
fn stalling_counts_against_the_task() {
    let mut f = running();
    f.wait();
    f.wait();
    let cause = FailureCause::Timeout { after: TIMEOUT };
    assert_eq!(
        f.wait(),
        [
            cancel_attempt(W2, map(0, 2)),
            release(W1, J1),
            release(W2, J1),
            ended(J1, failed(map(0, 2), 2, cause))
        ]
    );
}

#[test]
fn progress_restarts_the_clock() {
    let mut f = running();
    f.pass(TIMEOUT / 2);
    f.heartbeat(W1, &[(map(0, 1), 10)]);
    assert_eq!(f.scheduler.next_deadline(), Some(f.now + TIMEOUT));
}

#[test]
fn a_sign_of_life_is_progress() {
    let mut f = running();
    f.pass(TIMEOUT / 2);
    let sorting = AttemptProgress { attempt: map(0, 1), records: 0, bytes: 0, steps: 7 };
    f.handle(Event::Heartbeat { worker: W1, running: vec![sorting] });
    assert_eq!(f.scheduler.next_deadline(), Some(f.now + TIMEOUT));
}

#[test]
fn a_heartbeat_without_progress_does_not_restart_the_clock() {
    let mut f = running();
    f.heartbeat(W1, &[(map(0, 1), 10)]);
    let deadline = f.scheduler.next_deadline();
    f.pass(TIMEOUT / 2);
    f.heartbeat(W1, &[(map(0, 1), 10)]);
    // Nor does a late one, which shows less progress.
    f.heartbeat(W1, &[(map(0, 1), 5)]);
    assert_eq!(f.scheduler.next_deadline(), deadline);
}

#[test]
fn the_progress_of_another_worker_does_not_count() {
    let mut f = running();
    f.pass(TIMEOUT / 2);
    assert_eq!(f.heartbeat(W2, &[(map(0, 1), 10)]), [cancel_attempt(W2, map(0, 1))]);
    assert_eq!(f.scheduler.next_deadline(), Some(Time(TIMEOUT)));
}
