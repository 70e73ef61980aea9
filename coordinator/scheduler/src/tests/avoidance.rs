//! Workers on which one job's tasks fail.

use windrow_model::{AttemptId, Death, FailureCause, RecordPlace, WorkerId};

use super::fixture::*;
use crate::*;

/// A machine that lacks a library: each process dies when it starts.
fn died() -> FailureCause {
    let (place, output) = (Box::new(RecordPlace::default()), String::new());
    FailureCause::ProcessDied { death: Death::Exit(127), alone: true, place, output }
}

/// Every attempt on W1 dies at once, until nothing happens any more; all others wait for the test.
/// Returns the attempts that died.
fn die_on_w1(f: &mut Fixture, mut effects: Vec<Effect>) -> Vec<AttemptId> {
    let mut dead = Vec::new();
    loop {
        let mut to_w1 = effects.iter().filter_map(|effect| match effect {
            Effect::Assign { worker: W1, attempt, .. } => Some(*attempt),
            _ => None,
        });
        match to_w1.next() {
            Some(attempt) => {
                dead.push(attempt);
                let more: Vec<_> = to_w1.collect();
                effects = f.fail(W1, attempt, died());
                for attempt in more {
                    dead.push(attempt);
                    effects.extend(f.fail(W1, attempt, died()));
                }
            }
            None if f.scheduler.next_deadline().is_some_and(|at| at < SOON) => effects = f.wait(),
            None => return dead,
        }
    }
}

/// Before an avoided worker is tried again, and after all pauses.
const SOON: Time = Time(std::time::Duration::from_secs(50));

fn places(effects: &[Effect]) -> Vec<(WorkerId, AttemptId)> {
    let place = |effect: &Effect| match effect {
        Effect::Assign { worker, attempt, .. } => Some((*worker, *attempt)),
        _ => None,
    };
    effects.iter().filter_map(place).collect()
}

#[test]
fn a_machine_where_every_process_dies_does_not_fail_a_job() {
    let mut f = Fixture::new(2);
    let effects = f.submit(plan(20, 0));
    let dead = die_on_w1(&mut f, effects);
    // The last two die at the same time.
    assert_eq!(dead.len(), 4, "{dead:?}");
    assert_eq!(f.view(J1).avoided, [W1]);
    assert_eq!((f.worker(W1).running, f.worker(W2).running), (0, 2));
    // The other worker does all tasks, and no task has lost more than one attempt.
    while f.view(J1).state == JobState::Running {
        let running: Vec<_> = (0..20).map(|index| [map(index, 1), map(index, 2)]).collect();
        for attempt in running.into_iter().flatten() {
            let stats = AttemptStats::default();
            let effects = f.handle(Event::AttemptDone { worker: W2, attempt, stats });
            assert!(places(&effects).iter().all(|(worker, _)| *worker == W2), "{effects:?}");
        }
    }
    assert_eq!((f.view(J1).map.attempts, f.view(J1).map.failed), (24, 4));
}

#[test]
fn a_task_waits_for_a_worker_on_which_it_has_not_failed() {
    let mut f = Fixture::new(0);
    f.join(1, 1);
    f.join(1, 1);
    f.submit(plan(2, 0));
    f.fail(W1, map(0, 1), user_error());
    assert_eq!(f.wait(), [], "W1 is free, but W2 will be");
    assert_eq!(f.view(J1).map.running, 1);
    assert_eq!(f.done(W2, map(1, 1)), [assign_map(W2, map(0, 2))]);
    // Once it has failed on all workers, it may go to any.
    f.fail(W2, map(0, 2), user_error());
    assert_eq!(f.wait().len(), 1);
}

#[test]
fn a_task_returns_to_its_worker_when_the_other_worker_is_gone() {
    let mut f = Fixture::new(0);
    f.join(1, 1);
    f.join(1, 1);
    f.submit(plan(2, 0));
    f.fail(W1, map(0, 1), user_error());
    assert_eq!(f.wait(), []);
    assert_eq!(places(&f.drain(W2)), [(W1, map(0, 2))]);
}

#[test]
fn a_job_whose_tasks_fail_everywhere_avoids_no_worker() {
    let mut f = Fixture::new(1);
    let mut effects = f.submit(JobPlan { max_attempts: 9, ..plan(3, 0) });
    let mut running = Vec::new();
    for _ in 0..20 {
        running.extend(places(&effects));
        while running.is_empty() {
            running.extend(places(&f.wait()));
        }
        let (worker, attempt) = running.remove(0);
        effects = f.fail(worker, attempt, died());
    }
    assert_eq!((f.view(J1).avoided, f.view(J1).state), (vec![W1], JobState::Running));
}

#[test]
fn an_avoided_worker_is_tried_again_after_a_pause_that_grows() {
    let mut f = Fixture::new(2);
    let effects = f.submit(JobPlan { max_attempts: 9, ..plan(20, 0) });
    die_on_w1(&mut f, effects);
    let mut waited = Vec::new();
    for _ in 0..2 {
        let before = f.now;
        let mut effects = Vec::new();
        while places(&effects).is_empty() {
            effects = f.wait();
        }
        waited.push(f.now.since(before));
        // One for each slot; the first failure is enough.
        let tried = places(&effects);
        assert!(tried.iter().all(|(worker, _)| *worker == W1), "{tried:?}");
        for (_, attempt) in tried {
            f.fail(W1, attempt, died());
        }
        assert_eq!(f.view(J1).avoided, [W1]);
    }
    let base = Config::default().quarantine_base;
    assert!(waited[0] <= base && waited[1] > base, "{waited:?}");
    // If it has recovered by then, the evidence is dropped.
    let mut effects = Vec::new();
    while places(&effects).is_empty() {
        effects = f.wait();
    }
    f.done(W1, places(&effects)[0].1);
    f.wait();
    assert_eq!(f.view(J1).avoided, []);
}

#[test]
fn a_success_drops_the_evidence_against_a_worker() {
    let mut f = Fixture::new(2);
    f.submit(JobPlan { max_attempts: 9, ..plan(12, 0) });
    f.fail(W1, map(0, 1), user_error());
    f.fail(W1, map(2, 1), user_error());
    f.done(W1, map(4, 1));
    f.fail(W1, map(5, 1), user_error());
    assert_eq!(f.view(J1).avoided, []);
}

#[test]
fn a_worker_that_one_job_avoids_serves_other_jobs() {
    let mut f = Fixture::new(2);
    let effects = f.submit(plan(20, 0));
    die_on_w1(&mut f, effects);
    let second = places(&f.submit(plan(2, 0)));
    assert_eq!(second.iter().map(|(worker, _)| *worker).collect::<Vec<_>>(), [W1, W1]);
    // Its session ends, and the evidence with it.
    f.leave(W1);
    assert_eq!(f.view(J1).avoided, []);
}

/// Three fetches from W1 fail, on these workers. W1 holds three of four map outputs.
fn cannot_fetch_from_w1(readers: [WorkerId; 3]) -> Fixture {
    let config = Config { output_reports_max: 9, holder_reports_max: 3, ..Config::default() };
    let mut f = Fixture::with_config(0, config);
    f.join(3, 3);
    f.join(1, 3);
    f.submit(plan(4, 6));
    for index in [0, 2, 3] {
        f.done(W1, map(index, 1));
    }
    let effects = f.done(W2, map(1, 1));
    let mut running = places(&effects);
    for reader in readers {
        let at = running.iter().position(|(worker, _)| *worker == reader).unwrap();
        let (_, attempt) = running.remove(at);
        f.fail(reader, attempt, not_fetched(map(0, 1), W1));
    }
    f
}

#[test]
fn a_worker_of_which_several_readers_complain_is_avoided() {
    let f = cannot_fetch_from_w1([W1, W2, W1]);
    assert_eq!(f.view(J1).avoided, [W1]);
    assert_eq!((f.worker(W1).running, f.worker(W2).running), (1, 3));
}

#[test]
fn a_worker_of_which_one_reader_complains_is_not_avoided() {
    let f = cannot_fetch_from_w1([W2, W2, W2]);
    assert_eq!(f.view(J1).avoided, []);
    assert_eq!(f.view(J1).map.lost, 3);
}
