//! The map outputs that a worker holds of a job, and the complaints of reducers about them.
//!
//! In simulation, 1.2 times as many attempts are wasted without complaints where nobody can fetch
//! from one machine. Where a third of its outputs are damaged, complaints cost more than they save
//! if others are few (docs/decisions/scheduling.md).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use windrow_model::WorkerId;

/// One worker's map outputs of one job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The map tasks whose winner's output it holds.
    outputs: BTreeSet<u32>,
    complaints: Complaints,
}

/// Failed fetches from a holder since a reducer last succeeded, and since it last held no output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Complaints {
    count: u32,
    /// The workers whose reducers complained.
    by: BTreeSet<WorkerId>,
    /// Reducers that had succeeded at the latest complaint.
    reduces_won: u64,
}

impl Holder {
    /// The map tasks whose winner's output it holds.
    pub(crate) fn outputs(&self) -> &BTreeSet<u32> {
        &self.outputs
    }

    /// Adds the output of a map task that has won on this worker.
    pub(crate) fn keep(&mut self, index: u32) {
        let added = self.outputs.insert(index);
        debug_assert!(added, "an output is listed once");
    }

    /// Removes outputs that are lost.
    pub(crate) fn lose(&mut self, lost: &BTreeSet<u32>) {
        self.outputs.retain(|index| !lost.contains(index));
        if self.outputs.is_empty() {
            // Its next outputs are new: earlier complaints do not concern them.
            self.complaints = Complaints::default();
        }
    }

    /// Gives up all outputs.
    pub(crate) fn lose_all(&mut self) -> BTreeSet<u32> {
        self.complaints = Complaints::default();
        std::mem::take(&mut self.outputs)
    }

    /// Notes that a reducer on `reader` could not fetch from this holder; `reduces_won` reducers
    /// have succeeded so far.
    pub(crate) fn complain(&mut self, reader: WorkerId, reduces_won: u64) {
        let complaints = &mut self.complaints;
        debug_assert!(
            complaints.reduces_won <= reduces_won,
            "the number of successes never decreases"
        );
        debug_assert!(!self.outputs.is_empty(), "a complaint is about an output that it holds");
        if complaints.reduces_won != reduces_won {
            // A reducer has succeeded in the meantime, so the holder can be reached.
            *complaints = Complaints { reduces_won, ..Complaints::default() };
        }
        complaints.count += 1;
        complaints.by.insert(reader);
        debug_assert!(
            complaints.by.len() as u32 <= complaints.count,
            "each complaint has a reader"
        );
    }

    /// Complaints since a reducer last succeeded.
    pub(crate) fn complaints(&self) -> u32 {
        self.complaints.count
    }

    /// Whether several workers complain. If only one does, that reader may be at fault.
    pub(crate) fn is_surely_at_fault(&self) -> bool {
        self.complaints.by.len() > 1
    }
}
