//! The workers to which a task does not return.

use serde::{Deserialize, Serialize};
use windrow_model::WorkerId;

/// How many workers a task remembers as having failed on: more than it has attempts, in most jobs.
const FAILED_ON_MAX: usize = 8;

/// The workers on which a task has failed, the latest last. Each is listed once, and only the
/// latest few are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FailedOn(Vec<WorkerId>);

impl FailedOn {
    /// The list of a task that has never failed.
    pub(super) const fn nowhere() -> Self {
        Self(Vec::new())
    }

    /// Adds a worker.
    pub(super) fn add(&mut self, worker: WorkerId) {
        self.0.retain(|there| *there != worker);
        if self.0.len() == FAILED_ON_MAX {
            self.0.remove(0);
        }
        self.0.push(worker);
        debug_assert!(self.0.len() <= FAILED_ON_MAX, "the list is bounded");
    }

    /// Whether the task has failed on this worker, as far as it is remembered.
    pub(super) fn contains(&self, worker: WorkerId) -> bool {
        self.0.contains(&worker)
    }
}
