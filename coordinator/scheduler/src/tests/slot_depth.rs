//! A slot is given several quick tasks.

use std::time::Duration;

use windrow_model::{AttemptId, JobId, StageId, WorkerId};

use super::fixture::*;
use crate::*;

const SLOTS: usize = 2;
const MANY: usize = 8 * SLOTS;

/// A worker with two slots, and a job of so many maps, of which sixteen are done in `ms` each.
fn after_sixteen(maps: usize, ms: u64) -> (Fixture, WorkerId) {
    let mut f = Fixture::without_workers(Config::default());
    let worker = f.join(SLOTS as u32, 1);
    f.submit(plan(maps, 5));
    for index in 0..16 {
        assert_eq!(f.running(worker).len(), SLOTS, "nothing is known yet");
        done_in(&mut f, worker, map(index, 1), ms);
    }
    (f, worker)
}

fn first_running(f: &Fixture, worker: WorkerId) -> AttemptId {
    f.running(worker)[0]
}

fn done_in(f: &mut Fixture, worker: WorkerId, attempt: AttemptId, ms: u64) {
    let stats = AttemptStats { elapsed: Duration::from_millis(ms), ..AttemptStats::default() };
    f.handle(Event::AttemptDone { worker, attempt, stats });
}

#[test]
fn a_job_with_quick_tasks_gets_several_per_slot() {
    let (f, worker) = after_sixteen(100, 1);
    assert_eq!(f.running(worker).len(), MANY);
    let (f, worker) = after_sixteen(100, 50);
    assert_eq!(f.running(worker).len(), SLOTS);
}

#[test]
fn tasks_that_become_slow_go_one_to_a_slot_again() {
    let (mut f, worker) = after_sixteen(100, 1);
    let next = first_running(&f, worker);
    done_in(&mut f, worker, next, 60_000);
    assert_eq!(f.running(worker).len(), MANY - 1);
    while f.running(worker).len() > SLOTS {
        let next = first_running(&f, worker);
        done_in(&mut f, worker, next, 60_000);
    }
    let next = first_running(&f, worker);
    done_in(&mut f, worker, next, 60_000);
    assert_eq!(f.running(worker).len(), SLOTS);
}

#[test]
fn a_quick_job_does_not_delay_another_job() {
    let (mut f, worker) = after_sixteen(100, 1);
    f.submit(plan(10, 1));
    let of_second = |f: &Fixture| {
        f.running(worker).iter().filter(|attempt| attempt.task.job == JobId(2)).count()
    };
    assert_eq!(of_second(&f), 0, "there are more tasks than slots");
    for _ in 0..MANY - 1 {
        let next = first_running(&f, worker);
        done_in(&mut f, worker, next, 1);
    }
    // Each job has a slot, and the first job is next for the places beyond the slots.
    assert_eq!((of_second(&f), f.running(worker).len()), (1, SLOTS + 1));
    for _ in 0..2 {
        let next = first_running(&f, worker);
        done_in(&mut f, worker, next, 1);
    }
    let running = f.running(worker).len();
    assert_eq!((of_second(&f), running), (1, SLOTS), "and then the second one's, which waits");
}

#[test]
fn each_stage_has_its_own_slot_depth() {
    let (mut f, worker) = after_sixteen(18, 1);
    for index in [16, 17] {
        done_in(&mut f, worker, map(index, 1), 1);
    }
    let running = f.running(worker);
    assert_eq!(
        (running.len(), running[0].task.stage),
        (1, StageId::REDUCE),
        "one slot for reduces"
    );
}
