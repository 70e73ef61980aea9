//! The outputs of a stage that one worker holds, and the complaints of their readers.
//!
//! In simulation, 1.2 times as many attempts are wasted without complaints where nobody can fetch
//! from one machine. Where a third of its outputs are damaged, complaints cost more than they save
//! if others are few (docs/decisions/scheduling.md).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use windrow_model::WorkerId;

use crate::config::Config;

/// One worker's outputs of one stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// The tasks whose winner's output it holds.
    outputs: BTreeSet<u32>,
    complaints: Complaints,
}

/// Failed fetches from a holder since a reader last succeeded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Complaints {
    count: u32,
    /// The workers whose readers complained.
    by: BTreeSet<WorkerId>,
    /// Readers that had succeeded at the latest complaint.
    readers_won: u64,
}

/// A reader that could not fetch an output.
pub(crate) struct Complaint {
    /// The output's task.
    pub(crate) output: u32,
    /// How many readers could not fetch this very output, with the present one.
    pub(crate) reports: u32,
    /// Where the reader ran.
    pub(crate) reader: WorkerId,
    /// Readers of the stage that have succeeded so far.
    pub(crate) readers_won: u64,
}

/// Outputs that are given up after complaints.
pub(crate) struct GivenUp {
    /// Their tasks.
    pub(crate) outputs: BTreeSet<u32>,
    /// Whether the holder is at fault: several workers complain. If only one does, it may itself be
    /// at fault.
    pub(crate) is_surely_at_fault: bool,
}

impl Holder {
    /// The tasks whose winner's output it holds.
    pub(super) fn outputs(&self) -> &BTreeSet<u32> {
        &self.outputs
    }

    /// Adds the output of a task that has won on this worker.
    pub(super) fn keep(&mut self, index: u32) {
        let added = self.outputs.insert(index);
        debug_assert!(added, "an output is listed once");
    }

    /// Removes an output that is lost.
    pub(super) fn lose(&mut self, index: u32) {
        let removed = self.outputs.remove(&index);
        debug_assert!(removed, "a winner's output is listed at its holder");
    }

    /// Judges a complaint. Returns the outputs that are to be given up; `None` for the first few
    /// complaints, since each may be a transient fault.
    pub(super) fn complain(&mut self, complaint: &Complaint, config: &Config) -> Option<GivenUp> {
        debug_assert!(self.outputs.contains(&complaint.output), "the output is listed");
        let complaints = &mut self.complaints;
        complaints.add(complaint);
        let outputs = if complaints.count >= config.holder_reports_max {
            self.outputs.clone()
        } else if complaint.reports >= config.output_reports_max {
            BTreeSet::from([complaint.output])
        } else {
            return None;
        };
        Some(GivenUp { outputs, is_surely_at_fault: complaints.by.len() > 1 })
    }
}

impl Complaints {
    fn add(&mut self, &Complaint { reader, readers_won, .. }: &Complaint) {
        debug_assert!(self.readers_won <= readers_won, "the number of successes never decreases");
        if self.readers_won != readers_won {
            // A reader has succeeded in the meantime, so the holder can be reached.
            *self = Self { readers_won, ..Self::default() };
        }
        self.count += 1;
        self.by.insert(reader);
        debug_assert!(self.by.len() as u32 <= self.count, "each complaint has a reader");
    }
}
