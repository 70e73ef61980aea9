//! Which worker gets which task.

use std::collections::BTreeMap;

use std::time::Duration;

use windrow_model::{AttemptId, Platform, PlatformNeeds, WorkerId};

use super::fixture::*;
use crate::*;

fn offer(identity: u64) -> WorkerOffer {
    WorkerOffer {
        name: format!("host-{identity}"),
        identity,
        map_slots: 2,
        reduce_slots: 2,
        platform: Platform::default(),
    }
}

/// Which worker runs which task, in the order of assignment.
fn assigned(effects: &[Effect]) -> Vec<(WorkerId, AttemptId)> {
    let assigned = |effect: &Effect| match *effect {
        Effect::Assign { worker, attempt, .. } => Some((worker, attempt)),
        _ => None,
    };
    effects.iter().filter_map(assigned).collect()
}

/// Runs a map-only job on workers of these identities: which identity got which split.
fn places(identities: &[u64], affinities: &[u64]) -> BTreeMap<u64, u64> {
    let mut f = Fixture::new(0);
    let workers: BTreeMap<WorkerId, u64> =
        identities.iter().map(|&identity| (f.join_as(offer(identity)).0, identity)).collect();
    let mut plan = plan(0, 0);
    plan.splits = affinities.iter().map(|&affinity| SplitPlan { bytes: 1, affinity }).collect();
    let mut places = BTreeMap::new();
    let mut running = assigned(&f.submit(plan));
    while !running.is_empty() {
        let (worker, attempt) = running.remove(0);
        places.insert(affinities[attempt.task.index as usize], workers[&worker]);
        running.extend(assigned(&f.done(worker, attempt)));
    }
    places
}

#[test]
fn idle_workers_are_filled_first() {
    let mut f = Fixture::new(3);
    let workers: Vec<_> = assigned(&f.submit(plan(5, 0))).iter().map(|(w, _)| w.0).collect();
    assert_eq!(workers, [1, 2, 3, 1, 2]);
}

#[test]
fn reduces_spread_by_all_that_a_worker_runs() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 2));
    f.done(W1, map(0, 1));
    // W1 and W2 run a reduce each; a map goes to the first of the equally busy.
    let second = f.submit(plan(1, 0));
    assert_eq!(assigned(&second), [(W1, attempt(J2, windrow_model::StageId::MAP, 0, 1))]);
    // Now W1 is busier, so the next goes to W2.
    let third = f.submit(plan(1, 0));
    assert_eq!(assigned(&third)[0].0, W2);
}

#[test]
fn a_worker_never_gets_more_than_its_slots() {
    let mut f = Fixture::new(0);
    f.join(1, 0);
    f.join(3, 1);
    let effects = f.submit(plan(9, 5));
    let on = |worker| assigned(&effects).iter().filter(|(w, _)| *w == worker).count();
    assert_eq!((on(W1), on(W2)), (1, 3));
}

#[test]
fn a_worker_that_joins_late_gets_work_at_once() {
    let mut f = Fixture::new(1);
    f.submit(plan(4, 0));
    let (worker, effects) = f.join_as(offer(5));
    assert_eq!(effects, [assign_map(worker, map(2, 1)), assign_map(worker, map(3, 1))]);
}

#[test]
fn splits_return_to_the_worker_that_read_them() {
    let affinities: Vec<u64> = (0..300).map(|i| i * 7919).collect();
    let first = places(&[11, 22, 33], &affinities);
    // Other sessions, joined in another order, and the input in another order.
    let backwards: Vec<u64> = affinities.iter().rev().copied().collect();
    let second = places(&[33, 11, 22], &backwards);
    let same = affinities.iter().filter(|a| first[a] == second[a]).count();
    assert!(same > 200, "{same} of 300 came back; by chance it would be 100");
    // Every worker has some.
    for identity in [11, 22, 33] {
        let share = second.values().filter(|&&place| place == identity).count();
        assert!((80..=120).contains(&share), "{identity} got {share}");
    }
}

#[test]
fn a_failed_task_goes_elsewhere_if_a_slot_is_free_there() {
    let mut f = Fixture::new(2);
    f.submit(plan(1, 0));
    assert_eq!(f.fail(W1, map(0, 1), user_error()), []);
    assert_eq!(f.wait(), [assign_map(W2, map(0, 2))]);
}

#[test]
fn a_failed_task_returns_to_its_worker_rather_than_wait_for_another() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    f.fail(W1, map(0, 1), user_error());
    assert_eq!(f.wait(), [assign_map(W1, map(0, 2))]);
}

/// A job for this processor.
fn made_for(arch: &str) -> JobPlan {
    JobPlan { needs: PlatformNeeds { arch: arch.into(), ..Default::default() }, ..plan(3, 0) }
}

#[test]
fn workers_that_cannot_run_a_program_get_no_task() {
    let mut f = Fixture::new(0);
    let of = |arch: &str| Platform { arch: arch.into(), ..Platform::default() };
    let (arm, _) = f.join_as(WorkerOffer { platform: of("aarch64"), ..offer(1) });
    assert_eq!(assigned(&f.submit(made_for("x86_64"))), []);
    let gives_up_at = f.now + Duration::from_secs(300);
    assert_eq!(f.view(J1).waiting, Some(Waiting::NoFit { gives_up_at }));
    // A job that waits for another worker does not keep this one from other jobs.
    assert!(assigned(&f.submit(made_for("aarch64"))).iter().all(|(worker, _)| *worker == arm));
    assert_eq!(f.worker(arm).running, 2);
    let (intel, _) = f.join_as(WorkerOffer { platform: of("x86_64"), ..offer(2) });
    assert_eq!(f.view(J1).waiting, None);
    assert_eq!(f.worker(intel).running, 2);
}
