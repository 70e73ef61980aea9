//! Several jobs at once.

use std::time::Duration;

use proptest::prelude::*;
use windrow_model::{JobId, StageId};

use super::fixture::*;
use crate::*;

fn jobs_assigned(effects: &[Effect]) -> Vec<JobId> {
    let job = |effect: &Effect| match effect {
        Effect::Assign { attempt, .. } => Some(attempt.task.job),
        _ => None,
    };
    effects.iter().filter_map(job).collect()
}

#[test]
fn the_job_with_fewest_running_attempts_goes_first() {
    let mut f = Fixture::new(2);
    f.submit(plan(8, 0));
    f.submit(plan(8, 0));
    // The first job has all four slots, until each has two.
    assert_eq!(jobs_assigned(&f.done(W1, map(0, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W2, map(1, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W1, map(2, 1))), [J1]);
}

#[test]
fn jobs_take_turns_at_a_single_slot() {
    let mut f = Fixture::new(0);
    f.join(1, 1);
    f.submit(plan(3, 0));
    f.submit(plan(3, 0));
    assert_eq!(jobs_assigned(&f.done(W1, map(0, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W1, attempt(J2, StageId::MAP, 0, 1))), [J1]);
    assert_eq!(jobs_assigned(&f.done(W1, map(1, 1))), [J2]);
}

#[test]
fn a_higher_priority_goes_first_however_much_it_runs() {
    let mut f = Fixture::new(1);
    f.submit(plan(8, 0));
    f.submit(JobPlan { priority: 1, ..plan(8, 0) });
    assert_eq!(jobs_assigned(&f.done(W1, map(0, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W1, map(1, 1))), [J2]);
    assert_eq!(jobs_assigned(&f.done(W1, attempt(J2, StageId::MAP, 0, 1))), [J2]);
}

#[test]
fn a_job_that_waits_for_reduce_slots_leaves_map_slots_to_others() {
    let mut f = Fixture::new(0);
    f.join(2, 1);
    f.submit(JobPlan { priority: 9, ..plan(1, 2) });
    f.done(W1, map(0, 1));
    assert_eq!(jobs_assigned(&f.submit(plan(1, 0))), [J2]);
}

#[test]
fn a_map_for_which_running_reducers_wait_goes_first() {
    for priority in [0, 9] {
        let mut f = Fixture::new(0);
        f.join(2, 1);
        f.join(2, 3);
        f.submit(plan(1, 4));
        f.done(W1, map(0, 1));
        f.submit(JobPlan { priority, ..plan(99, 0) });
        // W1 is lost with the map's output and one reducer. The others hold their slots until the
        // output is made again.
        assert_eq!(f.leave(W1), []);
        assert_eq!((f.view(J1).reduce.running, f.view(J2).map.running), (3, 2));
        // By running attempts, and by priority, the second job would go first.
        let running = f.running(W2);
        let of_second = running.iter().find(|attempt| attempt.task.job == J2).copied();
        assert_eq!(f.done(W2, of_second.expect("two of them")), [assign_map(W2, map(0, 2))]);
    }
}

#[test]
fn no_job_starves_but_priority_still_counts() {
    let mut f = Fixture::new(0);
    f.join(1, 1);
    f.submit(JobPlan { task_timeout: Duration::MAX, priority: i32::MAX, ..plan(99, 0) });
    f.submit(JobPlan { priority: i32::MIN, ..plan(99, 0) });
    let mut given = Vec::new();
    let mut running = map(0, 1);
    for index in 1..40 {
        f.now = f.now + Duration::from_secs(60);
        let effects = f.done(W1, running);
        let [Effect::Assign { attempt, .. }] = effects[..] else { panic!("{index}: {effects:?}") };
        given.push(attempt.task.job);
        running = attempt;
    }
    let starving = given.iter().filter(|job| **job == J2).count();
    assert!((2..=5).contains(&starving), "{starving} of 39 minutes: {given:?}");
    assert!(!given[..9].contains(&J2), "it has not waited for ten minutes yet");
}

#[test]
fn half_of_a_large_machine_is_as_busy_as_half_of_a_small_one() {
    let mut f = Fixture::new(0);
    f.join(16, 16);
    f.join(1, 1);
    let effects = f.submit(plan(9, 0));
    let on = |wanted| {
        let assigned = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Assign { worker, .. } if *worker == wanted));
        assigned.count()
    };
    assert_eq!((on(W1), on(W2)), (8, 1));
    // With the same number of attempts, the small one is far busier.
    let mut f = Fixture::new(0);
    f.join(16, 16);
    f.join(2, 2);
    let places = |effects: Vec<Effect>| -> Vec<_> {
        let place = |effect: &Effect| match effect {
            Effect::Assign { worker, .. } => Some(*worker),
            _ => None,
        };
        effects.iter().filter_map(place).collect()
    };
    assert_eq!(places(f.submit(plan(4, 0))), [W1, W2, W1, W1]);
}

fn of(submitter: u64, splits: usize) -> JobPlan {
    JobPlan { submitter, ..plan(splits, 0) }
}

/// The job of the second submitter.
const OTHER: JobId = JobId(21);

/// Twenty jobs of one submitter, and then one of another.
fn twenty_jobs_and_another(
    slots: u32,
    splits: usize,
    splits_of_other: usize,
) -> (Fixture, Vec<Effect>) {
    let mut f = Fixture::new(0);
    f.join(slots, slots);
    for _ in 0..20 {
        f.submit(of(1, splits));
    }
    let other = f.submit(of(2, splits_of_other));
    (f, other)
}

#[test]
fn many_jobs_of_one_submitter_share_its_slots() {
    let (mut f, other) = twenty_jobs_and_another(4, 99, 99);
    assert_eq!(jobs_assigned(&other), [], "all slots are taken");
    // The next slots are the second submitter's, until both have as many.
    let given: Vec<_> = (0..4)
        .flat_map(|_| {
            let running = f.running(W1);
            let of_first = running.iter().find(|attempt| attempt.task.job != OTHER).copied();
            jobs_assigned(&f.done(W1, of_first.expect("two of them")))
        })
        .collect();
    assert_eq!(given.iter().filter(|job| **job == OTHER).count(), 2, "{given:?}");
    assert_eq!(given[..2], [OTHER; 2]);
}

#[test]
fn submitters_take_turns_at_a_single_slot_however_many_and_short_their_jobs_are() {
    let (mut f, _) = twenty_jobs_and_another(1, 1, 20);
    let mut given = Vec::new();
    let mut running = map(0, 1);
    for _ in 0..20 {
        let effects = f.done(W1, running);
        let assigned = effects.iter().find_map(|effect| match effect {
            Effect::Assign { attempt, .. } => Some(*attempt),
            _ => None,
        });
        running = assigned.expect("there is more to do");
        given.push(running.task.job == OTHER);
    }
    assert!(given.chunks(2).all(|turns| turns == [true, false]), "{given:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Submitters with enough tasks have equal numbers of slots, up to one, once each slot was
    /// given again; whatever the number of their jobs, and the order in which attempts end.
    #[test]
    fn all_submitters_have_equal_shares(
        slots in 1u32..10,
        jobs in prop::collection::vec(1usize..8, 1..5),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let mut f = Fixture::new(0);
        f.join(slots, 1);
        for (submitter, count) in jobs.iter().enumerate() {
            for _ in 0..*count {
                f.submit(of(submitter as u64, 200));
            }
        }
        let owner = |job: JobId| {
            let mut rest = job.0 as usize - 1;
            jobs.iter().position(|count| {
                let found = rest < *count;
                rest = rest.saturating_sub(*count);
                found
            })
        };
        let mut anew = std::collections::BTreeSet::new();
        for end in ends {
            let running = f.running(W1);
            prop_assert_eq!(running.len(), slots as usize, "no slot is empty");
            // Each submitter has at most its share, or the slots it had before others came.
            anew.extend(f.done(W1, *end.get(&running)).iter().filter_map(|effect| match effect {
                Effect::Assign { attempt, .. } => Some(*attempt),
                _ => None,
            }));
            let running = f.running(W1);
            if running.iter().any(|attempt| !anew.contains(attempt)) {
                continue;
            }
            let of = |who| running.iter().filter(|a| owner(a.task.job) == Some(who)).count();
            let counts: Vec<_> = (0..jobs.len()).map(of).collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            // The attempt that ends may belong to the submitter with the fewest.
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{counts:?}");
        }
    }
}
