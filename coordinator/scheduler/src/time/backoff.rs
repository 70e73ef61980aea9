//! Backoff with jitter: pauses before retries double, and do not coincide.

use std::time::Duration;

use windrow_model::AttemptId;

use crate::config::Config;
use crate::hash::mix;

/// The pause before the next attempt, after the `nth` failure: it doubles each time up to a
/// maximum, and is shortened by up to a quarter, by a jitter that depends only on the seed and the
/// attempt.
pub(crate) fn backoff(nth: u32, failed: AttemptId, config: &Config) -> Duration {
    let task = failed.task;
    let name = [
        task.job.0,
        u64::from(u16::from(task.stage)),
        u64::from(task.index),
        u64::from(failed.number),
    ];
    pause(nth, &name, config)
}

/// The pause after the `nth` failure of something other than an attempt. `name` replaces the
/// attempt as the source of the jitter.
pub(crate) fn pause(nth: u32, name: &[u64], config: &Config) -> Duration {
    debug_assert!(nth > 0, "the first failure is number 1");
    let doublings = nth.saturating_sub(1).min(31);
    let pause = config.backoff_base.saturating_mul(1 << doublings).min(config.backoff_max);
    let draw = name.iter().fold(config.seed, |seed, &part| mix(seed ^ part));
    let shortened_permille = (draw % 250) as u32;
    pause.saturating_sub(pause / 1_000 * shortened_permille)
}
