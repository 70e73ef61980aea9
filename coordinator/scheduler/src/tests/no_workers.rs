//! Jobs without workers wait for a limited time.

use std::time::Duration;

use windrow_model::{Platform, PlatformNeeds};

use super::fixture::*;
use crate::*;

const WAIT: Duration = Duration::from_secs(300);

fn gave_up() -> Effect {
    ended(J1, Outcome::Failed(JobFailure::NoWorkers))
}

#[test]
fn a_job_gives_up_when_no_worker_comes() {
    let mut f = Fixture::new(0);
    f.now = Time(WAIT);
    assert_eq!(f.submit(plan(1, 1)), [accepted(J1)]);
    let gives_up_at = f.now + WAIT;
    assert_eq!(f.view(J1).waiting, Some(Waiting::NoWorkers { gives_up_at }));
    assert_eq!(f.scheduler.next_deadline(), Some(gives_up_at));
    assert_eq!(f.wait(), [gave_up()]);
}

#[test]
fn the_clock_starts_when_the_last_worker_is_lost() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 1));
    f.leave(W1);
    f.pass(Duration::from_secs(100));
    assert_eq!(f.leave(W2), []);
    assert_eq!(f.scheduler.next_deadline(), Some(f.now + WAIT));
    assert_eq!(f.wait(), [gave_up()]);
}

#[test]
fn a_worker_that_joins_stops_the_clock() {
    let mut f = Fixture::new(0);
    f.submit(JobPlan { task_timeout: WAIT * 9, ..plan(1, 1) });
    f.pass(WAIT / 2);
    f.join(2, 2);
    f.pass(WAIT);
    assert_eq!(f.view(J1).waiting, None);
    assert_eq!(f.view(J1).map.running, 1);
}

#[test]
fn a_draining_worker_starts_the_clock_and_its_end_does_not_restart_it() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 1));
    f.drain(W1);
    let deadline = Some(f.now + WAIT);
    assert_eq!(f.scheduler.next_deadline(), deadline);
    f.pass(WAIT / 2);
    f.leave(W1);
    assert_eq!(f.scheduler.next_deadline(), deadline);
}

#[test]
fn a_job_does_not_give_up_while_a_draining_worker_still_works_for_it() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    f.drain(W1);
    assert_eq!(f.wait(), []);
    assert_eq!(f.scheduler.next_deadline(), Some(f.now + WAIT));
    assert_eq!(f.done(W1, map(0, 1)), [publish(&[map(0, 1)]), Effect::Drained { worker: W1 }]);
}

#[test]
fn a_job_that_is_being_published_needs_no_worker() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    f.done(W1, map(0, 1));
    f.leave(W1);
    assert_eq!(f.scheduler.next_deadline(), None);
}

fn worker_of(arch: &str) -> WorkerOffer {
    WorkerOffer {
        name: arch.into(),
        identity: arch.len() as u64,
        map_slots: 1,
        reduce_slots: 1,
        platform: Platform { arch: arch.into(), ..Platform::default() },
    }
}

fn made_for(arch: &str) -> JobPlan {
    JobPlan { needs: PlatformNeeds { arch: arch.into(), ..Default::default() }, ..plan(1, 0) }
}

#[test]
fn a_job_that_no_worker_can_run_says_so_and_gives_up() {
    let mut f = Fixture::new(0);
    f.join_as(worker_of("aarch64"));
    f.submit(made_for("x86_64"));
    let gives_up_at = f.now + WAIT;
    assert_eq!(f.view(J1).waiting, Some(Waiting::NoFit { gives_up_at }));
    assert_eq!(f.wait(), [ended(J1, Outcome::Failed(JobFailure::NoFit))]);
}

#[test]
fn only_a_fitting_worker_stops_the_clock_and_its_loss_starts_it() {
    let mut f = Fixture::new(0);
    f.submit(made_for("x86_64"));
    f.pass(WAIT / 2);
    f.join_as(worker_of("aarch64"));
    assert_eq!(f.scheduler.next_deadline(), Some(Time(WAIT)), "it waits as long as before");
    let (intel, _) = f.join_as(worker_of("x86_64"));
    assert_eq!(f.view(J1).map.running, 1);
    f.leave(intel);
    let gives_up_at = f.now + WAIT;
    assert_eq!(f.view(J1).waiting, Some(Waiting::NoFit { gives_up_at }));
}
