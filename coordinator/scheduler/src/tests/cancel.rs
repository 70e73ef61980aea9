//! Cancelled jobs.

use windrow_model::{JobId, StageId};

use super::fixture::*;
use crate::*;

fn answer(cancelled: bool) -> Effect {
    Effect::CancelAnswered { request: REQUEST, cancelled }
}

#[test]
fn a_cancelled_job_stops_everywhere() {
    let mut f = Fixture::new(2);
    f.submit(plan(3, 1));
    f.done(W2, map(1, 1));
    assert_eq!(
        f.cancel(J1),
        [
            answer(true),
            cancel_attempt(W1, map(0, 1)),
            cancel_attempt(W1, map(2, 1)),
            release(W1, J1),
            release(W2, J1),
            ended(J1, Outcome::Cancelled)
        ]
    );
    assert_eq!(f.view(J1).state, JobState::Ended(Outcome::Cancelled));
}

#[test]
fn its_slots_go_to_other_jobs_at_once() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 1));
    f.submit(plan(1, 1));
    let effects = f.cancel(J1);
    assert_eq!(effects.last(), Some(&assign_map(W1, attempt(J2, StageId::MAP, 0, 1))));
}

#[test]
fn unknown_and_ended_jobs_cannot_be_cancelled() {
    let mut f = Fixture::new(1);
    assert_eq!(f.cancel(JobId(9)), [answer(false)]);
    f.submit(plan(1, 1));
    f.cancel(J1);
    assert_eq!(f.cancel(J1), [answer(false)]);
}

#[test]
fn a_job_that_is_being_published_cannot_be_cancelled() {
    let mut f = Fixture::new(1);
    f.submit(plan(0, 0));
    assert_eq!(f.cancel(J1), [answer(false)]);
    let published = Event::Published { job: J1, result: Ok(()) };
    assert_eq!(f.handle(published), [ended(J1, Outcome::Succeeded)]);
}

#[test]
fn a_cancelled_job_leaves_no_deadline_behind() {
    let mut f = Fixture::new(0);
    f.submit(plan(1, 0));
    f.join(2, 2);
    f.fail(W1, map(0, 1), user_error());
    f.cancel(J1);
    f.leave(W1);
    assert_eq!(f.scheduler.next_deadline(), None);
}
