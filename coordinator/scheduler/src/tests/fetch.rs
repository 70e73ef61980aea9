//! Map outputs that can't be fetched.

use windrow_model::WorkerId;

use super::fixture::*;
use crate::*;

/// Two workers; maps 0 and 2 are done on W1, map 1 on W2; `reduces` reduce tasks run.
fn in_reduce(reduces: u32, config: Config) -> Fixture {
    let mut f = Fixture::with_config(0, config);
    f.join(2, 2);
    f.join(1, 3);
    f.submit(plan(3, reduces));
    f.done(W1, map(0, 1));
    f.done(W2, map(1, 1));
    f.done(W1, map(2, 1));
    f
}

fn outputs() -> [(windrow_model::AttemptId, WorkerId); 3] {
    [(map(0, 1), W1), (map(1, 1), W2), (map(2, 1), W1)]
}

#[test]
fn the_first_report_only_retries_the_reducer_after_a_pause() {
    let mut f = in_reduce(1, Config::default());
    assert_eq!(f.fail(W1, reduce(0, 1), not_fetched(map(1, 1), W2)), []);
    assert_eq!(f.wait(), [assign_reduce(W2, reduce(0, 2), 1, &outputs())]);
}

#[test]
fn the_second_report_loses_the_output() {
    let mut f = in_reduce(1, Config::default());
    f.fail(W1, reduce(0, 1), not_fetched(map(1, 1), W2));
    f.wait();
    // The map runs again elsewhere, and the reducer waits for it, without a pause.
    assert_eq!(f.fail(W2, reduce(0, 2), not_fetched(map(1, 1), W2)), [assign_map(W1, map(1, 2))]);
    let outputs = [(map(0, 1), W1), (map(1, 2), W1), (map(2, 1), W1)];
    assert_eq!(f.done(W1, map(1, 2)), [assign_reduce(W1, reduce(0, 3), 2, &outputs)]);
    assert_eq!(f.view(J1).map.lost, 1);
    assert_eq!(f.view(J1).reduce.failed, 2);
}

#[test]
fn reports_about_different_outputs_do_not_add_up_at_once() {
    let mut f = in_reduce(1, Config::default());
    f.fail(W1, reduce(0, 1), not_fetched(map(0, 1), W1));
    f.wait();
    assert_eq!(f.fail(W2, reduce(0, 2), not_fetched(map(1, 1), W2)), []);
    assert_eq!(f.view(J1).map.done, 3);
}

#[test]
fn a_worker_with_too_many_complaints_loses_all_its_outputs() {
    let config = Config { output_reports_max: 9, holder_reports_max: 3, ..Config::default() };
    let mut f = in_reduce(3, config);
    f.fail(W1, reduce(0, 1), not_fetched(map(0, 1), W1));
    f.fail(W2, reduce(1, 1), not_fetched(map(2, 1), W1));
    // W2 has one slot, and the only other worker is the one from which they cannot be fetched.
    let lost = f.fail(W1, reduce(2, 1), not_fetched(map(0, 1), W1));
    assert_eq!(lost, [assign_map(W2, map(0, 2))]);
    assert_eq!(f.done(W2, map(0, 2)), [assign_map(W2, map(2, 2))]);
}

#[test]
fn a_task_does_not_wait_for_a_busy_worker_after_a_failed_fetch() {
    let mut f = Fixture::new(0);
    f.join(1, 1);
    f.join(1, 1);
    f.submit(plan(2, 3));
    f.done(W1, map(0, 1));
    f.done(W2, map(1, 1));
    // W1 hangs in its reducer, and its outputs cannot be fetched. W2 is healthy, but that is not
    // known.
    f.fail(W2, reduce(1, 1), not_fetched(map(0, 1), W1));
    f.fail(W2, reduce(2, 1), not_fetched(map(0, 1), W1));
    let running = f.scheduler.worker(W2).map(|worker| worker.running);
    assert_eq!(running, Some(1), "the lost map is made again, and not by W1: {:?}", f.view(J1));
    f.done(W2, map(0, 2));
    assert_eq!(f.worker(W2).running, 1, "and its own reducers go on");
}

#[test]
fn a_reducer_that_succeeds_clears_the_worker() {
    let config = Config { output_reports_max: 9, holder_reports_max: 2, ..Config::default() };
    let mut f = in_reduce(3, config);
    f.fail(W1, reduce(0, 1), not_fetched(map(0, 1), W1));
    f.done(W2, reduce(1, 1));
    assert_eq!(f.fail(W1, reduce(2, 1), not_fetched(map(2, 1), W1)), []);
    assert_eq!(f.view(J1).map.done, 3);
}

#[test]
fn a_stale_report_only_retries_the_reducer_at_once() {
    let mut f = in_reduce(2, Config::default());
    // W2 dies with the output of map 1, and with reduce 1.
    assert_eq!(f.leave(W2), [assign_map(W1, map(1, 2))]);
    assert_eq!(f.fail(W1, reduce(0, 1), not_fetched(map(1, 1), W2)), []);
    let outputs = [(map(0, 1), W1), (map(1, 2), W1), (map(2, 1), W1)];
    assert_eq!(
        f.done(W1, map(1, 2)),
        [
            assign_reduce(W1, reduce(0, 2), 2, &outputs),
            assign_reduce(W1, reduce(1, 2), 2, &outputs)
        ]
    );
}

#[test]
fn reports_about_unknown_outputs_are_ignored() {
    for cause in
        [not_fetched(map(77, 1), W2), not_fetched(map(1, 9), W2), not_fetched(map(1, 1), W3)]
    {
        let mut f = in_reduce(1, Config::default());
        let again = [assign_reduce(W1, reduce(0, 2), 1, &outputs())];
        assert_eq!(f.fail(W1, reduce(0, 1), cause), again);
        assert_eq!(f.view(J1).map.done, 3);
    }
}

#[test]
fn a_fetch_failure_of_a_map_accuses_no_output() {
    let mut f = Fixture::new(1);
    f.submit(plan(2, 1));
    f.done(W1, map(0, 1));
    f.fail(W1, map(1, 1), not_fetched(map(0, 1), W1));
    f.fail(W1, map(1, 2), not_fetched(map(0, 1), W1));
    assert_eq!(f.view(J1).map.done, 1);
}

#[test]
fn fetch_failures_have_a_limit_of_their_own() {
    let config = Config { fetch_failures_max: 4, output_reports_max: 99, ..Config::default() };
    let config = Config { holder_reports_max: 99, ..config };
    let mut f = in_reduce(1, config);
    let mut worker = W1;
    for n in 1..4 {
        f.fail(worker, reduce(0, n), not_fetched(map(1, 1), W2));
        let [Effect::Assign { worker: next, .. }] = f.wait()[..] else { panic!("not retried") };
        worker = next;
    }
    let cause = not_fetched(map(1, 1), W2);
    let effects = f.fail(worker, reduce(0, 4), cause.clone());
    assert_eq!(effects.last(), Some(&ended(J1, failed(reduce(0, 4), 4, cause))));
}
