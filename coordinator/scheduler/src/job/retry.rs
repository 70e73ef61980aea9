//! Whether a task is retried, by the cause of its last failure.

use windrow_model::{FailureCause, FailureClass};

use crate::config::Config;
use crate::job::blame::Progress;
use crate::job::stage::Task;

/// How often an input file may be found changed since it was planned: one worker may have an
/// outdated view of it.
const CHANGED_INPUTS_MAX: u32 = 2;

/// Charges the failure of a running attempt to its task. Returns how often the task has now met
/// this kind of failure, or `None` if it is not retried.
pub(crate) fn charge(
    task: &mut Task,
    cause: &FailureCause,
    max_attempts: u32,
    progress: Progress,
    config: &Config,
) -> Option<u32> {
    let class = cause.class();
    debug_assert!(task.attempts > 0, "only a task that was tried can fail");
    if class == FailureClass::Fatal {
        return None;
    }
    let charges = task.charges_mut();
    let (count, max) = match (cause, class) {
        _ if cause.died_alone() == Some(false) => (count(&mut charges.deaths), config.deaths_max),
        (FailureCause::FetchFailed { .. }, _) => {
            (charges.fetch_failures.add(progress), config.fetch_failures_max)
        }
        // A second worker has confirmed the change.
        (FailureCause::InputChanged { .. }, _) => {
            (count(&mut charges.failures), max_attempts.min(CHANGED_INPUTS_MAX))
        }
        (_, FailureClass::Attempt) => (count(&mut charges.failures), max_attempts),
        _ => (count(&mut charges.losses), config.losses_max),
    };
    debug_assert!(count > 0, "this failure is counted");
    (count < max).then_some(count)
}

/// Charges the loss of an output to the task that made it. False if it is not made again.
pub(crate) fn charge_output(
    task: &mut Task,
    cause: &FailureCause,
    progress: Progress,
    config: &Config,
) -> bool {
    debug_assert!(task.attempts > 0, "only a task that was tried has left an output");
    let charges = task.charges_mut();
    match cause {
        FailureCause::FetchFailed { .. } => {
            charges.fetch_failures.add(progress) < config.fetch_failures_max
        }
        _ => charges.output_losses.add(progress) < config.losses_max,
    }
}

fn count(failures: &mut u32) -> u32 {
    *failures = failures.saturating_add(1);
    *failures
}
