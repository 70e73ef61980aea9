//! A seeded simulation: model workers and a faulty network around the real scheduler, in virtual time.
//!
//! `SIM_SEED=n cargo test -p windrow-scheduler --test simulation -- --nocapture` replays one seed and prints all
//! that happened. `SIM_SEEDS=n` runs that many.

mod faults;
mod invariants;
mod process;
mod rng;
mod scenario;
mod world;

use std::collections::BTreeMap;

use world::{Run, World};

const SEEDS: u64 = 3_000;

#[allow(clippy::disallowed_methods, reason = "how much to test is the caller's choice")]
fn number_from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

fn run(seed: u64, traced: bool) -> Run {
    World::new(seed, traced).run()
}

#[test]
fn every_seed_holds_all_invariants() {
    if let Some(seed) = number_from_environment("SIM_SEED") {
        let Run { trace, violation, .. } = run(seed, true);
        println!("{}", trace.join("\n"));
        assert_eq!(violation, None, "seed {seed}");
        return;
    }
    let mut outcomes = BTreeMap::<&str, u64>::new();
    for seed in 0..number_from_environment("SIM_SEEDS").unwrap_or(SEEDS) {
        let run = run(seed, false);
        if let Some(violation) = run.violation {
            panic!("seed {seed}: {violation}\nreplay it with SIM_SEED={seed}");
        }
        for outcome in run.outcomes {
            *outcomes.entry(outcome).or_default() += 1;
        }
    }
    println!("{outcomes:?}");
    // A storm in which nothing succeeds, or nothing goes wrong, proves little.
    for outcome in ["succeeded", "cancelled", "task failed", "workers lost", "no workers"] {
        assert!(outcomes.contains_key(outcome), "no job {outcome}: {outcomes:?}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        assert!(run(seed, true).trace == run(seed, true).trace, "seed {seed}");
    }
    assert!(run(1, true).trace != run(2, true).trace);
}
