//! What observers see.

use std::time::Duration;

use windrow_model::{AttemptId, Counters, JobId, WorkerId};

use super::fixture::*;
use crate::*;

fn done_with(f: &mut Fixture, worker: WorkerId, attempt: AttemptId, n: u64) {
    let stats = AttemptStats {
        input_records: n,
        input_bytes: 10 * n,
        output_records: 2 * n,
        output_bytes: 20 * n,
        elapsed: Duration::from_secs(n),
        counters: Counters::from_iter([("seen", n)]),
        ..AttemptStats::default()
    };
    f.handle(Event::AttemptDone { worker, attempt, stats });
}

fn seen(view: &JobView) -> Vec<(&str, u64)> {
    view.counters.iter().collect()
}

#[test]
fn sums_count_winners_and_running_attempts() {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 1));
    f.heartbeat(W1, &[(map(0, 1), 3)]);
    done_with(&mut f, W2, map(1, 1), 5);
    let view = f.view(J1);
    let expected = StageView {
        backups_won: 0,
        backups: 0,
        tasks: 2,
        running: 1,
        done: 1,
        attempts: 2,
        failed: 0,
        lost: 0,
        records: 8,
        bytes: 50,
        total_bytes: 200,
    };
    assert_eq!(view.map, expected);
    assert_eq!((view.shuffle_bytes, view.output_bytes), (100, 0));
    assert_eq!(seen(&view), [("seen", 5)]);

    done_with(&mut f, W1, map(0, 1), 4);
    done_with(&mut f, W1, reduce(0, 1), 2);
    let view = f.view(J1);
    assert_eq!((view.map.records, view.reduce.records), (9, 2));
    assert_eq!((view.output_records, view.output_bytes), (4, 40));
    let slowest = SlowestTask { task: map(1, 1).task, elapsed: Duration::from_secs(5), worker: W2 };
    assert_eq!(view.slowest, Some(slowest));
}

#[test]
fn a_lost_winner_is_subtracted_from_the_sums() {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 1));
    done_with(&mut f, W1, map(0, 1), 5);
    done_with(&mut f, W2, map(1, 1), 7);
    f.leave(W1);
    let view = f.view(J1);
    assert_eq!((view.map.records, view.shuffle_bytes), (7, 140));
    assert_eq!(seen(&view), [("seen", 7)]);
    assert_eq!((view.map.lost, view.reduce.lost), (1, 1));
    done_with(&mut f, W2, map(0, 2), 5);
    assert_eq!(seen(&f.view(J1)), [("seen", 12)]);
}

#[test]
fn failed_attempts_leave_no_progress_behind() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 1));
    f.heartbeat(W1, &[(map(0, 1), 9)]);
    f.fail(W1, map(0, 1), user_error());
    let map = f.view(J1).map;
    assert_eq!((map.records, map.failed, map.running), (0, 1, 0));
}

#[test]
fn the_view_says_why_nothing_runs() {
    let mut f = Fixture::new(0);
    f.join(1, 1);
    f.submit(plan(1, 0));
    f.submit(plan(1, 0));
    assert_eq!(f.view(J1).waiting, None);
    assert_eq!(f.view(J2).waiting, Some(Waiting::Slots));
    f.fail(W1, map(0, 1), user_error());
    assert_eq!(f.view(J1).waiting, Some(Waiting::Backoff));
    f.leave(W1);
    let gives_up_at = f.now + Duration::from_secs(300);
    assert_eq!(f.view(J2).waiting, Some(Waiting::NoWorkers { gives_up_at }));
}

/// Asks whether a submission was accepted; the nth of a fixture is named n.
fn resubmit(f: &mut Fixture, submission: u128) -> Vec<Effect> {
    let submission = SubmissionId(submission);
    f.handle(Event::Resubmit { request: REQUEST, submission })
}

fn known(f: &Fixture) -> Vec<u64> {
    f.scheduler.jobs().map(|view| view.job.0).collect()
}

#[test]
fn ended_jobs_are_remembered_up_to_a_bound_in_the_order_of_their_ends() {
    let mut f = Fixture::with_config(1, Config { ended_jobs_max: 2, ..Config::default() });
    for _ in 1..=4 {
        f.submit(plan(1, 0));
    }
    // The first one outlives two younger ones.
    for job in [2, 3, 1] {
        f.cancel(JobId(job));
        f.handle(Event::CleanedUp { job: JobId(job) });
    }
    assert_eq!(known(&f), [1, 3, 4], "the one that ended first is forgotten first");
    assert_eq!(f.view(J1).ended, Some(f.now));
    assert_eq!(resubmit(&mut f, 1), [accepted(J1)], "a submission is known as long as its job");
    assert_eq!(resubmit(&mut f, 2), [Effect::NotSubmitted { request: REQUEST }]);
}

#[test]
fn no_job_is_forgotten_before_its_end_was_told() {
    let mut f = Fixture::with_config(1, Config { ended_jobs_max: 1, ..Config::default() });
    for _ in 1..=3 {
        f.submit(plan(1, 0));
    }
    f.cancel(J1);
    for job in [J2, JobId(3)] {
        f.cancel(job);
        f.handle(Event::CleanedUp { job });
    }
    assert_eq!(known(&f), [1, 3], "something partial is left of the first, which takes its time");
    f.handle(Event::CleanedUp { job: J1 });
    f.handle(Event::CleanedUp { job: J1 });
    assert_eq!(known(&f), [1]);
}

#[test]
fn workers_count_what_they_did() {
    let mut f = Fixture::new(2);
    f.submit(plan(3, 0));
    f.done(W1, map(0, 1));
    f.fail(W1, map(2, 1), user_error());
    f.drain(W2);
    let workers: Vec<_> = f.scheduler.workers().collect();
    let view = |worker, running, done, failed, draining| WorkerView {
        away: false,
        quarantined: false,
        on_probation: false,
        worker,
        name: "worker".into(),
        running,
        done,
        failed,
        draining,
        heard: Time::default(),
    };
    assert_eq!(workers, [view(W1, 0, 1, 1, false), view(W2, 1, 0, 0, true)]);
}

#[test]
fn absurd_counts_saturate() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 0));
    let stats = AttemptStats { input_records: u64::MAX, ..AttemptStats::default() };
    let mut effects = Vec::new();
    for attempt in [map(0, 1), map(1, 1)] {
        let event = Event::AttemptDone { worker: W1, attempt, stats: stats.clone() };
        f.scheduler.handle(f.now, &event, &mut effects);
    }
    assert_eq!(f.view(J1).map.records, u64::MAX);
}
