//! Slow attempts get a backup on another worker, and the first of the two wins.

use std::time::Duration;

use windrow_model::{AttemptId, WorkerId};

use super::fixture::*;
use crate::*;

const AFTER: Duration = Duration::from_secs(5);

/// Four maps of 100 bytes on two workers of two slots; three are done after two seconds each.
fn almost_done() -> Fixture {
    let mut f = Fixture::without_workers(Config {
        lease: Duration::from_secs(86_400),
        backup_after: Some(AFTER),
        ..Config::default()
    });
    f.join(2, 2);
    f.join(2, 2);
    f.submit(plan(4, 0));
    for (worker, index) in [(W2, 1), (W1, 2), (W2, 3)] {
        let stats = AttemptStats {
            input_bytes: 100,
            elapsed: Duration::from_secs(2),
            ..AttemptStats::default()
        };
        f.handle(Event::AttemptDone { worker, attempt: map(index, 1), stats });
    }
    f
}

/// The effects of the search, after the attempt has read so many bytes in so many seconds.
fn after(
    f: &mut Fixture,
    worker: WorkerId,
    attempt: AttemptId,
    secs: u64,
    bytes: u64,
) -> Vec<Effect> {
    f.now = Time(Duration::from_secs(secs));
    let progress = AttemptProgress { attempt, records: 0, bytes, steps: bytes };
    f.handle(Event::Heartbeat { worker, running: vec![progress] });
    let mut effects = Vec::new();
    f.scheduler.handle_deadline(f.now, &mut effects);
    f.scheduler.check_invariants();
    effects
}

#[test]
fn a_slow_attempt_is_backed_up_elsewhere_and_the_first_wins() {
    let mut f = almost_done();
    assert_eq!(after(&mut f, W1, map(0, 1), 4, 1), [], "too young");
    assert_eq!(after(&mut f, W1, map(0, 1), 6, 1), [assign_map(W2, map(0, 2))]);
    assert_eq!(after(&mut f, W1, map(0, 1), 9, 2), [], "it has its backup");
    assert_eq!(f.view(J1).map.backups, 1);
    let winners = [map(0, 2), map(1, 1), map(2, 1), map(3, 1)];
    assert_eq!(f.done(W2, map(0, 2)), [cancel_attempt(W1, map(0, 1)), publish(&winners)]);
    assert_eq!((f.view(J1).map.backups, f.view(J1).map.backups_won), (1, 1));
    let late =
        Event::AttemptDone { worker: W1, attempt: map(0, 1), stats: AttemptStats::default() };
    assert_eq!(f.handle(late), [noted(W1, map(0, 1), false)]);
}

#[test]
fn the_slow_attempt_may_win() {
    let mut f = almost_done();
    after(&mut f, W1, map(0, 1), 6, 1);
    let winners = [map(0, 1), map(1, 1), map(2, 1), map(3, 1)];
    assert_eq!(f.done(W1, map(0, 1)), [cancel_attempt(W2, map(0, 2)), publish(&winners)]);
}

#[test]
fn an_attempt_at_the_usual_rate_gets_no_backup() {
    let mut f = almost_done();
    // A hundred bytes in two seconds are usual. This attempt is slower, but not by much, or nearly
    // done.
    assert_eq!(after(&mut f, W1, map(0, 1), 6, 110), []);
    let mut f = almost_done();
    assert_eq!(after(&mut f, W1, map(0, 1), 30, 97), []);
}

#[test]
fn an_attempt_whose_process_hangs_at_its_end_is_backed_up() {
    let mut f = almost_done();
    assert_eq!(after(&mut f, W1, map(0, 1), 3, 100), [], "it has read all");
    assert_eq!(f.view(J1).waiting, None);
    f.now = Time(Duration::from_secs(7));
    f.scheduler.handle_deadline(f.now, &mut Vec::new());
    assert_eq!(f.view(J1).map.backups, 0, "it may take as long as others do");
    f.now = Time(Duration::from_secs(14));
    let mut effects = Vec::new();
    f.scheduler.handle_deadline(f.now, &mut effects);
    assert_eq!(effects, [assign_map(W2, map(0, 2))]);
}

#[test]
fn a_task_that_waits_for_a_worker_that_hangs_does_not_keep_its_backup_from_a_free_slot() {
    let config = Config { lease: Duration::from_secs(86_400), ..Config::default() };
    let mut f = Fixture::without_workers(Config { backup_after: Some(AFTER), ..config });
    f.join(1, 1);
    f.join(1, 1);
    f.submit(plan(3, 0));
    let elapsed = Duration::from_secs(2);
    let stats = AttemptStats { input_bytes: 100, elapsed, ..AttemptStats::default() };
    f.handle(Event::AttemptDone { worker: W1, attempt: map(0, 1), stats });
    // Map 2 has failed on W1 and waits for W2, where map 1 hangs.
    f.fail(W1, map(2, 1), user_error());
    f.now = Time(Duration::from_secs(20));
    let mut effects = Vec::new();
    // First its pause ends, then the search for slow attempts is due.
    for _ in 0..2 {
        f.scheduler.handle_deadline(f.now, &mut effects);
    }
    assert_eq!(effects, [assign_map(W1, map(1, 2))]);
}

#[test]
fn the_view_reports_that_all_attempts_are_silent() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    let progress = AttemptProgress { attempt: map(0, 1), records: 1, bytes: 1, steps: 1 };
    f.now = Time(Duration::from_secs(5));
    f.handle(Event::Heartbeat { worker: W1, running: vec![progress] });
    f.now = Time(Duration::from_secs(25));
    f.handle(Event::Heartbeat { worker: W1, running: vec![progress] });
    let since = Time(Duration::from_secs(5));
    let silent = Waiting::Silent { attempt: map(0, 1), worker: W1, attempts: 1, since };
    assert_eq!(f.view(J1).waiting, Some(silent));
    f.handle(Event::Heartbeat {
        worker: W1,
        running: vec![AttemptProgress { steps: 2, ..progress }],
    });
    assert_eq!(f.view(J1).waiting, None);
}

#[test]
fn no_backup_takes_a_slot_that_a_queued_task_needs() {
    let mut f = almost_done();
    f.submit(JobPlan { priority: -1, ..plan(9, 0) });
    assert_eq!(after(&mut f, W1, map(0, 1), 6, 1), []);
}

#[test]
fn when_one_attempt_fails_or_is_lost_the_other_goes_on() {
    let mut f = almost_done();
    after(&mut f, W1, map(0, 1), 6, 1);
    assert_eq!(f.fail(W1, map(0, 1), user_error()), []);
    assert_eq!((f.view(J1).map.running, f.view(J1).map.failed), (1, 1));

    let mut f = almost_done();
    after(&mut f, W1, map(0, 1), 6, 1);
    assert_eq!(f.leave(W2), []);
    assert_eq!((f.view(J1).map.running, f.view(J1).map.lost), (1, 1));
}

#[test]
fn a_cancelled_job_stops_both() {
    let mut f = almost_done();
    after(&mut f, W1, map(0, 1), 6, 1);
    let effects = f.cancel(J1);
    assert!(effects.contains(&cancel_attempt(W1, map(0, 1))), "{effects:?}");
    assert!(effects.contains(&cancel_attempt(W2, map(0, 2))), "{effects:?}");
}

#[test]
fn a_replay_repeats_backups_without_the_heartbeats_behind_them() {
    let mut live = almost_done();
    let mut replayed = live.scheduler.clone();
    after(&mut live, W1, map(0, 1), 6, 1);
    let mut effects = Vec::new();
    replayed.handle(live.now, &Event::BackUp { attempts: vec![map(0, 1)] }, &mut effects);
    assert_eq!(effects, [assign_map(W2, map(0, 2))]);
}
