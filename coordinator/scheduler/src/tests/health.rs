//! Bad workers: strikes, quarantine and probation.

use std::time::Duration;

use windrow_model::{
    AttemptId, FailureCause, JobId, MemoryLimit, Platform, RecordPlace, StageId, WorkerId,
};

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

/// A job of one map, with enough attempts for everything.
fn submit(f: &mut Fixture) -> Vec<Effect> {
    f.submit(JobPlan { max_attempts: 100, ..plan(1, 0) })
}

fn assign_to(worker: WorkerId, attempt: AttemptId) -> Effect {
    Effect::Assign { worker, attempt, outputs: None, alone: false, skip: Vec::new() }
}

/// Fails an attempt that runs on one of two workers.
fn fail_wherever_it_runs(f: &mut Fixture, attempt: AttemptId, cause: FailureCause) {
    let failed = |f: &Fixture| f.worker(W1).failed + f.worker(W2).failed;
    let before = failed(f);
    for worker in [W1, W2] {
        f.handle(Event::AttemptFailed { worker, attempt, cause: cause.clone() });
    }
    assert_eq!(failed(f), before + 1, "{attempt} runs");
}

fn assigned(effects: &[Effect]) -> Option<WorkerId> {
    effects.iter().find_map(|effect| match effect {
        Effect::Assign { worker, .. } => Some(*worker),
        _ => None,
    })
}

#[test]
fn a_worker_with_a_strike_comes_last_until_a_success() {
    let mut f = with_workers(&[1, 2]);
    submit(&mut f);
    f.fail(W1, map(0, 1), io(false));
    assert_eq!(f.wait(), [assign_map(W2, map(0, 2))]);
    let second = submit(&mut f);
    assert_eq!(assigned(&second), Some(W2), "busy, but without a strike");
    let third = submit(&mut f);
    assert_eq!(assigned(&third), Some(W1), "W2 is full");
    f.done(W1, attempt(JobId(3), StageId::MAP, 0, 1));
    assert_eq!(assigned(&submit(&mut f)), Some(W1));
}

/// Two jobs with two maps each, of which both workers run one.
fn two_jobs() -> Fixture {
    let mut f = with_workers(&[1, 2]);
    for _ in 0..2 {
        f.submit(JobPlan { max_attempts: 100, ..plan(2, 0) });
    }
    f
}

/// Strikes of both jobs put W1 into quarantine.
fn quarantine(f: &mut Fixture) {
    f.fail(W1, map(0, 1), io(true));
    assert!(!f.worker(W1).quarantined);
    f.fail(W1, second_job(0, 1), io(false));
    assert!(f.worker(W1).quarantined);
}

fn second_job(index: u32, number: u32) -> AttemptId {
    attempt(J2, StageId::MAP, index, number)
}

#[test]
fn a_full_disk_is_two_strikes_and_leads_to_quarantine_and_probation() {
    let mut f = two_jobs();
    quarantine(&mut f);
    f.done(W2, map(1, 1));
    f.done(W2, second_job(1, 1));
    while f.worker(W2).running < 2 {
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
    // On probation, one strike puts it back into quarantine, for twice as long.
    let before = f.now;
    f.fail(W1, attempt(JobId(3), StageId::MAP, 0, 1), io(false));
    assert!(f.worker(W1).quarantined);
    while f.worker(W1).quarantined {
        f.wait();
    }
    assert_eq!(f.now.since(before), Duration::from_secs(120));
}

#[test]
fn strikes_of_one_job_alone_do_not_quarantine_a_worker() {
    let mut f = with_workers(&[1, 2]);
    f.submit(JobPlan { max_attempts: 100, ..plan(4, 0) });
    f.fail(W1, map(0, 1), io(true));
    f.fail(W1, map(2, 1), io(true));
    assert!(!f.worker(W1).quarantined && !f.worker(W1).on_probation);
    let effects = f.submit(plan(2, 0));
    assert_eq!(effects[1..], [assign_to(W1, second_job(0, 1)), assign_to(W1, second_job(1, 1))]);
}

#[test]
fn a_restart_does_not_end_a_quarantine() {
    let mut f = two_jobs();
    quarantine(&mut f);
    f.leave(W1);
    let again = join(&mut f, 1);
    assert!(f.worker(again).quarantined);
    assert!(!f.worker(W2).quarantined);
}

#[test]
fn errors_of_user_code_are_no_strikes() {
    let mut f = two_jobs();
    for n in 1..20 {
        for job in [J1, J2] {
            fail_wherever_it_runs(&mut f, attempt(job, StageId::MAP, 0, n), user_error());
        }
        while f.view(J1).map.running < 2 || f.view(J2).map.running < 2 {
            f.wait();
        }
    }
    assert!(!f.worker(W1).quarantined && !f.worker(W2).quarantined);
}

#[test]
fn a_dead_process_is_no_strike() {
    let mut f = two_jobs();
    for n in 1..10 {
        let alone = n % 2 == 0;
        for job in [J1, J2] {
            let place = RecordPlace::default();
            let cause = FailureCause::OutOfMemory {
                limit_bytes: 1,
                limit: MemoryLimit::Process,
                alone,
                place,
            };
            fail_wherever_it_runs(&mut f, attempt(job, StageId::MAP, 0, n), cause);
        }
        while f.view(J1).map.running < 2 || f.view(J2).map.running < 2 {
            f.wait();
        }
    }
    for worker in [W1, W2] {
        assert!(!f.worker(worker).quarantined && !f.worker(worker).on_probation);
    }
}

#[test]
fn the_last_worker_is_not_quarantined() {
    let mut f = with_workers(&[1]);
    submit(&mut f);
    submit(&mut f);
    let mut running = vec![map(0, 1), second_job(0, 1)];
    for _ in 0..20 {
        while running.is_empty() {
            running.extend(f.wait().iter().filter_map(|effect| match effect {
                Effect::Assign { attempt, .. } => Some(*attempt),
                _ => None,
            }));
        }
        f.fail(W1, running.remove(0), io(true));
        assert!(!f.worker(W1).quarantined);
    }
}

#[test]
fn quarantines_end_when_the_other_workers_leave() {
    let mut f = two_jobs();
    quarantine(&mut f);
    let effects = f.leave(W2);
    assert!(!f.worker(W1).quarantined);
    assert_eq!(assigned(&effects), Some(W1));
}
