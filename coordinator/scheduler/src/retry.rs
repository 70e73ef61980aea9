//! Whether and when a task is tried again, by the cause of its last failure.

use std::time::Duration;

use windrow_model::{AttemptId, FailureCause, FailureClass};

use crate::config::Config;
use crate::hash::mix;
use crate::task::Task;
use crate::trouble::Progress;

/// How often an input file may be found to be another one than was planned: one worker may have an
/// old view of it.
const CHANGED_INPUTS_MAX: u32 = 2;

/// Charges the failure of a running attempt to its task. Returns how often the task has now met
/// this kind of failure, or `None` when it is not to be tried again.
pub(crate) fn charge(
    task: &mut Task,
    cause: &FailureCause,
    max_attempts: u32,
    progress: Progress,
    config: &Config,
) -> Option<u32> {
    let class = cause.class();
    debug_assert!(task.attempts > 0, "what was never tried has not failed");
    if class == FailureClass::Fatal {
        return None;
    }
    let trouble = task.trouble_mut();
    let (count, max) = match (cause, class) {
        _ if cause.died_alone() == Some(false) => (count(&mut trouble.deaths), config.deaths_max),
        (FailureCause::FetchFailed { .. }, _) => {
            (trouble.fetch_failures.add(progress), config.fetch_failures_max)
        }
        // A second worker says so too.
        (FailureCause::InputChanged { .. }, _) => {
            (count(&mut trouble.failures), max_attempts.min(CHANGED_INPUTS_MAX))
        }
        (_, FailureClass::Attempt) => (count(&mut trouble.failures), max_attempts),
        _ => (count(&mut trouble.losses), config.losses_max),
    };
    debug_assert!(count > 0, "this failure is counted");
    (count < max).then_some(count)
}

/// Charges the loss of an output to the task that made it. False when it is not to be made again.
pub(crate) fn charge_output(
    task: &mut Task,
    cause: &FailureCause,
    progress: Progress,
    config: &Config,
) -> bool {
    debug_assert!(task.attempts > 0, "what was never tried has left no output");
    let trouble = task.trouble_mut();
    match cause {
        FailureCause::FetchFailed { .. } => {
            trouble.fetch_failures.add(progress) < config.fetch_failures_max
        }
        _ => trouble.output_losses.add(progress) < config.losses_max,
    }
}

fn count(failures: &mut u32) -> u32 {
    *failures = failures.saturating_add(1);
    *failures
}

/// The pause before the next attempt, after the `nth` failure of a kind: it doubles each time up to
/// a maximum, and is shortened by up to a quarter, a part that only the seed and the attempt
/// decide.
pub(crate) fn backoff(nth: u32, failed: AttemptId, config: &Config) -> Duration {
    let task = failed.task;
    let name = [task.job.0, task.stage as u64, u64::from(task.index), u64::from(failed.number)];
    pause(nth, &name, config)
}

/// The pause after the `nth` failure of something else than an attempt. `name` takes the attempt's
/// place in the draw.
pub(crate) fn pause(nth: u32, name: &[u64], config: &Config) -> Duration {
    debug_assert!(nth > 0, "the first failure is number 1");
    let doublings = nth.saturating_sub(1).min(31);
    let pause = config.backoff_base.saturating_mul(1 << doublings).min(config.backoff_max);
    let draw = name.iter().fold(config.seed, |seed, &part| mix(seed ^ part));
    let shortened_permille = (draw % 250) as u32;
    pause.saturating_sub(pause / 1_000 * shortened_permille)
}
