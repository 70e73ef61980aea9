//! A seeded simulation in virtual time: coordinators as they are shipped, which are the
//! [driver](crate::driver) with its catalog, sessions and outboxes, the scheduler, and the
//! journal's protocol; around them, models of the shell, workers, submitters, output folders and a
//! store, and a faulty network.
//!
//! `SIM_SEED=n cargo test -p windrow-coordinator --lib simulation::every_seed -- --nocapture`
//! replays one seed and prints its trace. `SIM_SEEDS=n` runs n seeds.
//!
//! runs one seed after another until it is stopped (or has run `SIM_SEEDS`), and prints the rate
//! and the violated invariants.

mod attempts;
mod client;
mod coordinator;
mod faults;
mod happening;
mod invariants;
mod network;
mod output;
mod process;
pub(crate) mod recorder;
mod rng;
mod scenario;
mod store;
mod succession;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use world::{Run, World};

const SEEDS: u64 = 1_000;

#[allow(clippy::disallowed_methods, reason = "how much to test is the caller's choice")]
fn number_from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

fn run(seed: u64, traced: bool) -> Run {
    World::new(seed, traced).run()
}

/// Runs seeds on all cores until one violates an invariant.
fn run_all(seeds: u64) -> Vec<(u64, Run)> {
    let (next, found) = (AtomicU64::new(0), AtomicBool::new(false));
    let run_some = || {
        let mut runs = Vec::new();
        while !found.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            let run = run(seed, false);
            found.fetch_or(run.violation.is_some(), Ordering::Relaxed);
            runs.push((seed, run));
        }
        runs
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run_some)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_seed_holds_all_invariants() {
    if let Some(seed) = number_from_environment("SIM_SEED") {
        let Run { trace, violation, .. } = run(seed, true);
        println!("{}", trace.join("\n"));
        assert_eq!(violation, None, "seed {seed}");
        return;
    }
    let seeds = number_from_environment("SIM_SEEDS").unwrap_or(SEEDS);
    let (mut outcomes, mut takeovers) = (BTreeMap::<&str, u64>::new(), 0);
    let mut violations = BTreeMap::new();
    for (seed, run) in run_all(seeds) {
        violations.extend(run.violation.map(|violation| (seed, violation)));
        takeovers += run.takeovers;
        for outcome in run.outcomes {
            *outcomes.entry(outcome).or_default() += 1;
        }
    }
    if let Some((seed, violation)) = violations.first_key_value() {
        panic!("seed {seed}: {violation}\nreplay it with SIM_SEED={seed}");
    }
    println!("{outcomes:?}, {takeovers} takeovers");
    // Seeds in which all jobs succeed, or none does, prove little.
    for outcome in [
        "succeeded",
        "cancelled",
        "task failed",
        "processes died",
        "too many bad records",
        "too much poison",
        "workers lost",
        "no workers",
        "no fitting workers",
        "not published",
        "output lost",
    ] {
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

#[test]
#[ignore = "runs until it is stopped"]
#[allow(clippy::disallowed_methods, reason = "how fast it is, is a question of real time")]
fn soak() {
    let started = Instant::now();
    let mut told = Duration::ZERO;
    // By invariant: the number of violations, and the first seed and message.
    let mut violations = BTreeMap::<String, (u64, u64, String)>::new();
    let seeds = number_from_environment("SIM_SEEDS").unwrap_or(u64::MAX);
    for seed in 0..seeds {
        if let Some(message) = run(seed, false).violation {
            let name = message.split(':').next().unwrap_or_default().to_string();
            let brief: String = message.chars().take(300).collect();
            violations.entry(name).or_insert((0, seed, brief)).0 += 1;
        }
        let elapsed = started.elapsed();
        if elapsed > told + Duration::from_secs(10) || seed + 1 == seeds {
            told = elapsed;
            let rate = (seed + 1) as f64 / elapsed.as_secs_f64();
            println!("{} seeds, {rate:.0} a second, violations: {violations:#?}", seed + 1);
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}
