//! Which tasks run again when a worker is lost, and which do not.

use windrow_model::{AttemptId, FailureCause, Platform, StageId, WorkerId};

use super::fixture::*;
use crate::*;

/// Two workers; both maps are done, the first on W1 and the second on W2, and one reduce runs on
/// each.
fn in_reduce() -> Fixture {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 2));
    f.done(W1, map(0, 1));
    f.done(W2, map(1, 1));
    f
}

#[test]
fn running_attempts_are_run_again_elsewhere_at_once() {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 1));
    assert_eq!(f.leave(W1), [assign_map(W2, map(0, 2))]);
}

#[test]
fn a_finished_map_is_redone_when_its_output_died() {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 1));
    f.done(W1, map(0, 1));
    assert_eq!(f.leave(W1), [assign_map(W2, map(0, 2))]);
    assert_eq!(f.view(J1).map.lost, 1);
}

#[test]
fn only_lost_maps_are_redone_and_reducers_wait_for_them() {
    let mut f = in_reduce();
    // Both the output and the attempt of W1 are needed again; the reduce on W2 goes on.
    assert_eq!(f.leave(W1), [assign_map(W2, map(0, 2))]);
    let outputs = [(map(0, 2), W2), (map(1, 1), W2)];
    assert_eq!(f.done(W2, map(0, 2)), [assign_reduce(W2, reduce(0, 2), 2, &outputs)]);
    assert_eq!(f.done(W2, reduce(1, 1)), []);
    assert_eq!(f.done(W2, reduce(0, 2)), [publish(&[reduce(0, 2), reduce(1, 1)])]);
}

#[test]
fn a_map_that_runs_again_is_cancelled_when_all_reducers_have_read() {
    let mut f = in_reduce();
    f.done(W1, reduce(0, 1));
    assert_eq!(f.leave(W1), [assign_map(W2, map(0, 2))]);
    assert_eq!(
        f.done(W2, reduce(1, 1)),
        [cancel_attempt(W2, map(0, 2)), publish(&[reduce(0, 1), reduce(1, 1)])]
    );
}

#[test]
fn finished_reduces_are_not_redone() {
    let mut f = in_reduce();
    f.done(W1, reduce(0, 1));
    f.leave(W1);
    assert_eq!(f.view(J1).reduce.done, 1);
    assert_eq!(f.view(J1).reduce.lost, 0);
}

#[test]
fn finished_maps_of_a_map_only_job_are_not_redone() {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 0));
    f.done(W1, map(0, 1));
    assert_eq!(f.leave(W1), []);
    assert_eq!(f.done(W2, map(1, 1)), [publish(&[map(0, 1), map(1, 1)])]);
}

#[test]
fn nothing_is_redone_for_a_job_that_is_being_published() {
    let mut f = in_reduce();
    f.done(W1, reduce(0, 1));
    f.done(W2, reduce(1, 1));
    assert_eq!(f.leave(W1), []);
    let published = Event::Published { job: J1, result: Ok(()) };
    assert_eq!(f.handle(published), [release(W2, J1), ended(J1, Outcome::Succeeded)]);
}

#[test]
fn losses_do_not_count_as_failures_but_are_limited() {
    let config = Config { losses_max: 5, ..Config::default() };
    let mut f = Fixture::with_config(1, config);
    f.submit(plan(2, 1));
    for n in 1..5 {
        let worker = WorkerId(n);
        assert_eq!(f.leave(worker), []);
        f.join(2, 2);
        assert_eq!(f.view(J1).map.running, 2);
    }
    // The worker is gone: nothing is cancelled on it, or released.
    let w5 = WorkerId(5);
    assert_eq!(f.leave(w5), [ended(J1, failed(map(0, 5), 5, lost(w5)))]);
}

#[test]
fn one_loss_hits_every_job_that_the_worker_served() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 1));
    f.submit(plan(1, 1));
    f.done(W1, map(0, 1));
    assert_eq!(f.leave(W1), []);
    let second = attempt(J2, StageId::MAP, 0, 2);
    let (w2, effects) = f.join_as(WorkerOffer {
        name: "late".into(),
        identity: 1,
        map_slots: 2,
        reduce_slots: 2,
        platform: Platform::default(),
    });
    assert_eq!(effects, [assign_map(w2, second), assign_map(w2, map(0, 2))]);
}

fn outputs_lost(f: &mut Fixture, worker: WorkerId, outputs: &[AttemptId]) -> Vec<Effect> {
    f.handle(Event::OutputsLost { worker, outputs: outputs.to_vec() })
}

#[test]
fn outputs_that_died_with_a_process_are_made_again() {
    let mut f = in_reduce();
    let again = outputs_lost(&mut f, W1, &[map(0, 1)]);
    assert_eq!(again, [assign_map(W1, map(0, 2))]);
    assert_eq!(f.view(J1).map.lost, 1);
    // Repeated, it is not about the current output any more.
    assert_eq!(outputs_lost(&mut f, W1, &[map(0, 1)]), []);
}

#[test]
fn only_current_outputs_of_that_worker_die_with_its_process() {
    let mut f = in_reduce();
    let others = [map(1, 1), map(0, 2), map(9, 1), reduce(0, 1)];
    let other_job = attempt(J2, StageId::MAP, 0, 1);
    assert_eq!(outputs_lost(&mut f, W1, &[&others[..], &[other_job]].concat()), []);
    assert_eq!(f.view(J1).map.lost, 0);
    f.done(W1, reduce(0, 1));
    f.done(W2, reduce(1, 1));
    // All outputs are read: they are not needed any more.
    assert_eq!(outputs_lost(&mut f, W1, &[map(0, 1)]), []);
}

#[test]
fn outputs_that_die_again_and_again_fail_the_job() {
    let config = Config { losses_max: 3, ..Config::default() };
    let mut f = Fixture::with_config(1, config);
    f.submit(plan(1, 1));
    for n in 1..3 {
        f.done(W1, map(0, n));
        let again = outputs_lost(&mut f, W1, &[map(0, n)]);
        assert_eq!(again, [assign_map(W1, map(0, n + 1))]);
    }
    f.done(W1, map(0, 3));
    let reason = "the process that held the output died".to_string();
    let cause = FailureCause::WorkerLost { worker: W1, reason };
    assert_eq!(
        outputs_lost(&mut f, W1, &[map(0, 3)]),
        [cancel_attempt(W1, reduce(0, 1)), release(W1, J1), ended(J1, failed(map(0, 3), 3, cause))]
    );
}

/// As on machines that are removed every few hours, for days.
#[test]
fn losses_are_forgiven_by_success_and_by_progress() {
    let config = Config { losses_max: 3, ..Config::default() };
    let mut f = Fixture::with_config(0, config);
    f.join(1, 1);
    f.submit(plan(40, 1));
    for round in 1..20 {
        // One more map is done than in the round before, and the worker is lost with all of them.
        let worker = WorkerId(round);
        for _ in 0..round {
            let running = f.running(worker);
            f.done(worker, running[0]);
        }
        f.leave(worker);
        assert_eq!(f.view(J1).state, JobState::Running, "round {round}");
        f.join(1, 1);
    }
    // Without any progress, the job is taken to be what ends its workers.
    let ended = (20..30).find(|&worker| {
        let running = f.running(WorkerId(worker));
        f.done(WorkerId(worker), running[0]);
        f.leave(WorkerId(worker));
        f.join(1, 1);
        f.view(J1).state != JobState::Running
    });
    assert_eq!(ended, Some(21));
}
