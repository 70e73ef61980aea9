//! Bad workers get less to do, then nothing, then another chance.

use std::time::Duration;

use windrow_jobs::{FailureCause, Place, Platform, WorkerId};

use super::fixture::*;
use crate::*;

fn with_workers(identities: &[u64]) -> Fixture {
    let mut f = Fixture::with_config(0, Config::default());
    for &identity in identities {
        join(&mut f, identity);
    }
    f
}

fn join(f: &mut Fixture, identity: u64) -> WorkerId {
    let offer = WorkerOffer {
        name: "w".into(),
        identity,
        map_slots: 2,
        reduce_slots: 2,
        platform: Platform::default(),
    };
    f.join_as(offer).0
}

fn io(disk_full: bool) -> FailureCause {
    FailureCause::Io {
        path: "/tmp/segment".into(),
        message: "input/output error".into(),
        disk_full,
    }
}

/// Jobs of one map each, with enough attempts for everything.
fn submit(f: &mut Fixture) -> Vec<Effect> {
    f.submit(JobPlan { max_attempts: 100, ..plan(1, 0) })
}

fn assigned(effects: &[Effect]) -> Option<WorkerId> {
    effects.iter().find_map(|effect| match effect {
        Effect::Assign { worker, .. } => Some(*worker),
        _ => None,
    })
}

#[test]
fn a_worker_with_a_strike_comes_last_and_a_success_clears_it() {
    let mut f = with_workers(&[1, 2]);
    submit(&mut f);
    f.fail(W1, map(0, 1), io(false));
    assert_eq!(f.wait(), [assign_map(W2, map(0, 2))]);
    let second = submit(&mut f);
    assert_eq!(assigned(&second), Some(W2), "busy, but without a strike");
    let third = submit(&mut f);
    assert_eq!(assigned(&third), Some(W1), "W2 is full");
    f.done(W1, attempt(windrow_jobs::JobId(3), windrow_jobs::Stage::Map, 0, 1));
    assert_eq!(assigned(&submit(&mut f)), Some(W1));
}

#[test]
fn a_full_disk_weighs_more_and_leads_to_quarantine_and_probation() {
    let mut f = with_workers(&[1, 2]);
    f.submit(JobPlan { max_attempts: 100, ..plan(4, 0) });
    f.fail(W1, map(0, 1), io(true));
    assert!(!f.worker(W1).quarantined);
    f.fail(W1, map(2, 1), io(false));
    assert!(f.worker(W1).quarantined);
    f.done(W2, map(1, 1));
    f.done(W2, map(3, 1));
    while f.view(J1).map.running < 2 {
        let effects = f.wait();
        assert_eq!(assigned(&effects), Some(W2), "{effects:?}");
    }
    f.pass(Duration::from_secs(50));
    f.wait();
    assert!(!f.worker(W1).quarantined && f.worker(W1).on_probation);
    let next = f.submit(JobPlan { max_attempts: 100, ..plan(3, 0) });
    let placed: Vec<_> =
        next.iter().filter(|effect| matches!(effect, Effect::Assign { .. })).collect();
    assert_eq!(placed.len(), 1, "W2 is full, and W1 gets one at a time: {next:?}");
    // One strike sends it back, for twice as long.
    let before = f.now;
    f.fail(W1, attempt(J2, windrow_jobs::Stage::Map, 0, 1), io(false));
    assert!(f.worker(W1).quarantined);
    while f.worker(W1).quarantined {
        f.wait();
    }
    assert_eq!(f.now.since(before), Duration::from_secs(120));
}

#[test]
fn a_restart_does_not_wash_a_worker_clean() {
    let mut f = with_workers(&[1, 2]);
    f.submit(JobPlan { max_attempts: 100, ..plan(4, 0) });
    f.fail(W1, map(0, 1), io(true));
    f.fail(W1, map(2, 1), io(true));
    f.leave(W1);
    let again = join(&mut f, 1);
    assert!(f.worker(again).quarantined);
    assert!(!f.worker(W2).quarantined);
}

#[test]
fn errors_of_user_code_say_nothing_about_the_worker() {
    let mut f = with_workers(&[1, 2]);
    f.submit(JobPlan { max_attempts: 100, ..plan(1, 0) });
    for n in 1..20 {
        let worker = if n % 2 == 1 { W1 } else { W2 };
        f.fail(worker, map(0, n), user_error());
        f.wait();
    }
    assert!(!f.worker(W1).quarantined && !f.worker(W2).quarantined);
}

#[test]
fn a_process_that_dies_says_nothing_about_the_worker() {
    let mut f = with_workers(&[1, 2]);
    f.submit(JobPlan { max_attempts: 100, ..plan(4, 0) });
    for n in 1..10 {
        // W2 is full, so that the task comes back although it would rather not.
        let alone = n % 2 == 0;
        let place = Place::default();
        f.fail(W1, map(0, n), FailureCause::OutOfMemory { limit_bytes: 1, alone, place });
        if alone {
            f.wait();
        }
    }
    assert!(!f.worker(W1).quarantined && !f.worker(W1).on_probation);
}

#[test]
fn the_last_worker_is_not_quarantined() {
    let mut f = with_workers(&[1]);
    f.submit(JobPlan { max_attempts: 100, ..plan(1, 0) });
    for n in 1..10 {
        f.fail(W1, map(0, n), io(true));
        assert!(!f.worker(W1).quarantined);
        assert_eq!(f.wait(), [assign_map(W1, map(0, n + 1))]);
    }
}

#[test]
fn when_the_others_go_quarantines_end() {
    let mut f = with_workers(&[1, 2]);
    f.submit(JobPlan { max_attempts: 100, ..plan(4, 0) });
    f.fail(W1, map(0, 1), io(true));
    f.fail(W1, map(2, 1), io(true));
    assert!(f.worker(W1).quarantined);
    let effects = f.leave(W2);
    assert!(!f.worker(W1).quarantined);
    assert_eq!(assigned(&effects), Some(W1));
}
