//! What a worker holds of a job for its reducers, and what these say of it.

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

/// Fetches from a holder that failed since a reducer last succeeded, and since it holds anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Complaints {
    count: u32,
    /// The workers on which they did.
    by: BTreeSet<WorkerId>,
    /// Reducers that had succeeded when the last one came.
    reduces_won: u64,
}

impl Holder {
    /// The map tasks whose winner's output it holds.
    pub(crate) fn outputs(&self) -> &BTreeSet<u32> {
        &self.outputs
    }

    /// A map task has won there.
    pub(crate) fn keep(&mut self, index: u32) {
        let added = self.outputs.insert(index);
        debug_assert!(added, "an output that was lost was taken off the list before it won again");
    }

    /// It does not hold these any more.
    pub(crate) fn lose(&mut self, lost: &BTreeSet<u32>) {
        self.outputs.retain(|index| !lost.contains(index));
        if self.outputs.is_empty() {
            // What it will hold has been read by nobody yet: former complaints say nothing of it.
            self.complaints = Complaints::default();
        }
    }

    /// Gives all of them up.
    pub(crate) fn lose_all(&mut self) -> BTreeSet<u32> {
        self.complaints = Complaints::default();
        std::mem::take(&mut self.outputs)
    }

    /// A reducer on `reader` could not fetch from it, after so many reducers have succeeded.
    pub(crate) fn complain(&mut self, reader: WorkerId, reduces_won: u64) {
        let complaints = &mut self.complaints;
        debug_assert!(complaints.reduces_won <= reduces_won, "successes are only ever added");
        debug_assert!(!self.outputs.is_empty(), "what it does not hold says nothing against it");
        if complaints.reduces_won != reduces_won {
            // A reducer has succeeded since, so the holder can be reached.
            *complaints = Complaints { reduces_won, ..Complaints::default() };
        }
        complaints.count += 1;
        complaints.by.insert(reader);
        debug_assert!(complaints.by.len() as u32 <= complaints.count, "each has a reader");
    }

    /// Complaints since a reducer last succeeded.
    pub(crate) fn complaints(&self) -> u32 {
        self.complaints.count
    }

    /// Whether several workers complain. One that nobody else complains of may be reached by all
    /// but that one, which is at fault itself then.
    pub(crate) fn is_surely_at_fault(&self) -> bool {
        self.complaints.by.len() > 1
    }
}
