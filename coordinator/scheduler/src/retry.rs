//! Whether and when a task is tried again, by the cause of its last failure.

use std::time::Duration;

use windrow_jobs::{AttemptId, FailureCause, FailureClass};

use crate::config::Config;
use crate::hash::mix;
use crate::task::Task;

/// Charges the cause to the task. Returns how often the task has now met this kind of failure, or `None` when it
/// is not to be tried again.
pub(crate) fn charge(
    task: &mut Task,
    cause: &FailureCause,
    max_attempts: u32,
    config: &Config,
) -> Option<u32> {
    let (count, max) = match (cause, cause.class()) {
        _ if cause.died_alone() == Some(false) => (&mut task.deaths, config.deaths_max),
        (_, FailureClass::Fatal) => return None,
        (FailureCause::FetchFailed { .. }, _) => {
            (&mut task.fetch_failures, config.fetch_failures_max)
        }
        (_, FailureClass::Infrastructure) => (&mut task.losses, config.losses_max),
        (_, FailureClass::Attempt) => (&mut task.failures, max_attempts),
    };
    *count += 1;
    (*count < max).then_some(*count)
}

/// The pause before the next attempt, after the `nth` failure of a kind: it doubles each time up to a maximum, and
/// is shortened by up to a quarter, a part that only the seed and the attempt decide.
pub(crate) fn backoff(nth: u32, failed: AttemptId, config: &Config) -> Duration {
    let task = failed.task;
    let name = [task.job.0, task.stage as u64, u64::from(task.index), u64::from(failed.number)];
    pause(nth, &name, config)
}

/// Likewise, after the `nth` failure of what bears this name.
pub(crate) fn pause(nth: u32, name: &[u64], config: &Config) -> Duration {
    debug_assert!(nth > 0, "the first failure is number 1");
    let doublings = nth.saturating_sub(1).min(31);
    let pause = config.backoff_base.saturating_mul(1 << doublings).min(config.backoff_max);
    let draw = name.iter().fold(config.seed, |seed, &part| mix(seed ^ part));
    let shortened_permille = (draw % 250) as u32;
    pause.saturating_sub(pause / 1_000 * shortened_permille)
}
