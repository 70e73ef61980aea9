//! Reducers must read exactly what the maps wrote, or the job fails.

use windrow_model::{AttemptId, Audit, Emitted, WorkerId};

use super::fixture::*;
use crate::*;

fn done(f: &mut Fixture, worker: WorkerId, attempt: AttemptId, audit: u64) -> Vec<Effect> {
    done_with(f, worker, attempt, audited(audit))
}

fn done_with(
    f: &mut Fixture,
    worker: WorkerId,
    attempt: AttemptId,
    stats: AttemptStats,
) -> Vec<Effect> {
    let mut effects = f.handle(Event::AttemptDone { worker, attempt, stats });
    assert_eq!(effects.remove(0), noted(worker, attempt, true));
    effects
}

/// The stats of a map that has combined pairs of these keys.
fn combined(digest: u64, keys: u64, is_partial: bool) -> AttemptStats {
    let keys = Audit { records: 9, digest: keys };
    AttemptStats { emitted: Some(Emitted { keys, is_partial }), ..audited(digest) }
}

/// W1 has done map 0, with digest 10; W2 map 1, with digest 20; two reduces run, one on each.
fn in_reduce() -> Fixture {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 2));
    done(&mut f, W1, map(0, 1), 10);
    done(&mut f, W2, map(1, 1), 20);
    f
}

#[test]
fn a_job_whose_reducers_read_something_else_fails_and_publishes_nothing() {
    let mut f = in_reduce();
    done(&mut f, W1, reduce(0, 1), 15);
    let effects = done(&mut f, W2, reduce(1, 1), 16);
    let written = Audit { records: 2, digest: 30 };
    let failure = JobFailure::Audit { written, read: Audit { records: 2, digest: 31 } };
    assert_eq!(effects.last(), Some(&ended(J1, Outcome::Failed(failure))));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Publish { .. })));
}

#[test]
fn the_same_output_made_again_replaces_the_first() {
    let mut f = in_reduce();
    done(&mut f, W2, reduce(1, 1), 15);
    assert_eq!(f.leave(W1), [assign_map(W2, map(0, 2))]);
    let effects = done(&mut f, W2, map(0, 2), 10);
    assert_eq!(effects, [assign_reduce(W2, reduce(0, 2), 2, &[(map(0, 2), W2), (map(1, 1), W2)])]);
    assert_eq!(f.view(J1).nondeterministic, None);
    assert_eq!(done(&mut f, W2, reduce(0, 2), 15), [publish(&[reduce(0, 2), reduce(1, 1)])]);
}

#[test]
fn a_different_output_makes_reducers_that_read_the_first_run_again() {
    let mut f = in_reduce();
    done(&mut f, W2, reduce(1, 1), 15);
    f.leave(W1);
    let effects = done(&mut f, W2, map(0, 2), 11);
    let outputs = [(map(0, 2), W2), (map(1, 1), W2)];
    let again = [
        assign_reduce(W2, reduce(0, 2), 2, &outputs),
        assign_reduce(W2, reduce(1, 2), 2, &outputs),
    ];
    assert_eq!(effects, again);
    assert_eq!(f.view(J1).nondeterministic, Some(0));
    done(&mut f, W2, reduce(0, 2), 15);
    assert_eq!(done(&mut f, W2, reduce(1, 2), 16), [publish(&[reduce(0, 2), reduce(1, 2)])]);
}

#[test]
fn reducers_that_still_run_are_stopped_too() {
    let mut f = in_reduce();
    // Map 1's output is lost twice over, by the reports of two attempts.
    f.fail(W1, reduce(0, 1), not_fetched(map(1, 1), W2));
    f.wait();
    let lost = f.fail(W2, reduce(0, 2), not_fetched(map(1, 1), W2));
    assert_eq!(lost, [assign_map(W1, map(1, 2))]);
    let effects = done(&mut f, W1, map(1, 2), 21);
    assert!(effects.contains(&cancel_attempt(W2, reduce(1, 1))), "{effects:?}");
    assert_eq!(f.view(J1).reduce.running, 2);
}

#[test]
fn a_map_that_is_redone_when_all_reducers_are_done_does_not_matter() {
    let mut f = in_reduce();
    done(&mut f, W2, reduce(1, 1), 15);
    done(&mut f, W1, reduce(0, 1), 15);
    assert_eq!(f.view(J1).state, JobState::Publishing);
}

/// Two reduces run; one is done, and has read the output of map 0 as `first` reports it; then that
/// output is lost, and made again.
fn made_again(first: AttemptStats, again: AttemptStats) -> (Fixture, Vec<Effect>) {
    let mut f = Fixture::new(2);
    f.submit(plan(2, 2));
    done_with(&mut f, W1, map(0, 1), first);
    done(&mut f, W2, map(1, 1), 20);
    done(&mut f, W2, reduce(1, 1), 15);
    f.leave(W1);
    let effects = done_with(&mut f, W2, map(0, 2), again);
    (f, effects)
}

#[test]
fn the_same_pairs_combined_differently_replace_the_first() {
    for partial in [(true, false), (false, true), (true, true)] {
        let again = combined(11, 7, partial.1);
        let (mut f, effects) = made_again(combined(10, 7, partial.0), again);
        let outputs = [(map(0, 2), W2), (map(1, 1), W2)];
        assert_eq!(effects, [assign_reduce(W2, reduce(0, 2), 2, &outputs)]);
        assert_eq!(f.view(J1).nondeterministic, None);
        // The sum of what they have read is neither the first output nor the second.
        let published = done(&mut f, W2, reduce(0, 2), 99);
        assert_eq!(published, [publish(&[reduce(0, 2), reduce(1, 1)])]);
    }
}

#[test]
fn different_pairs_are_detected_however_they_were_combined() {
    for (first, again) in [
        (combined(10, 7, true), combined(11, 8, true)),
        (combined(10, 7, false), combined(11, 8, true)),
        // A map that has combined all pairs writes the same output for the same input.
        (combined(10, 7, false), combined(11, 7, false)),
    ] {
        let (f, effects) = made_again(first, again);
        assert_eq!(effects.len(), 2, "{effects:?}");
        assert_eq!(f.view(J1).nondeterministic, Some(0));
    }
}

#[test]
fn an_output_that_was_never_read_still_counts_in_the_audit() {
    for (read, is_right) in [(16, true), (15, false)] {
        let mut f = Fixture::new(2);
        f.submit(plan(2, 2));
        done_with(&mut f, W1, map(0, 1), combined(10, 7, true));
        f.leave(W1);
        done(&mut f, W2, map(1, 1), 20);
        done_with(&mut f, W2, map(0, 2), combined(11, 7, true));
        done(&mut f, W2, reduce(0, 1), 15);
        let last = done(&mut f, W2, reduce(1, 1), read);
        assert_eq!(last.contains(&publish(&[reduce(0, 1), reduce(1, 1)])), is_right, "{last:?}");
    }
}

#[test]
fn the_audit_holds_again_after_all_reducers_have_run_again() {
    let (mut f, _) = made_again(combined(10, 7, true), combined(11, 7, true));
    let lost = f.handle(Event::OutputsLost { worker: W2, outputs: vec![map(0, 2)] });
    assert_eq!(lost, [assign_map(W2, map(0, 3))]);
    done_with(&mut f, W2, map(0, 3), combined(12, 8, true));
    done(&mut f, W2, reduce(0, 3), 15);
    let last = done(&mut f, W2, reduce(1, 2), 99);
    let audit = |digest| Audit { records: 2, digest };
    let failure = JobFailure::Audit { written: audit(32), read: audit(114) };
    assert_eq!(last.last(), Some(&ended(J1, Outcome::Failed(failure))));
}
