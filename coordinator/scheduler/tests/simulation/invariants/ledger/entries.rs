//! What the ledger has an entry of.

use windrow_jobs::{FailureCause, Place, Stage, WorkerId};
use windrow_scheduler::{JobPlan, Outcome, RequestId, Time, WorkerOffer};

#[derive(Clone)]
pub struct Session {
    pub offer: WorkerOffer,
    pub draining: bool,
    /// `None`: it is away.
    pub connection: Option<RequestId>,
    pub lease_ends: Time,
}

#[derive(Clone)]
pub struct Attempt {
    pub worker: WorkerId,
    pub status: Status,
    /// Reducers that could not fetch its output.
    pub reports: u32,
    /// Its worker came back without its output, or said that it is gone.
    pub missing: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Running,
    Done,
    Failed(FailureCause),
    /// By the scheduler.
    Cancelled,
    /// Another attempt of the task was faster, or what it reads has changed.
    Overtaken,
    /// With its worker, while it ran.
    Lost,
    /// Its worker came back and did not know of it: it is told again, or lost.
    Unknown,
}

#[derive(Clone)]
pub struct Job {
    pub plan: JobPlan,
    pub submitted: Time,
    pub cancelled: bool,
    pub published: Option<Result<(), FailureCause>>,
    pub publishing: bool,
    pub ended: Option<Outcome>,
}

impl Job {
    /// The stage whose tasks write parts, and their number.
    pub fn output_stage(&self) -> (Stage, u32) {
        match self.plan.partitions {
            0 => (Stage::Map, self.plan.splits.len() as u32),
            partitions => (Stage::Reduce, partitions),
        }
    }

    /// The record that such a cause accuses, which is nobody's failure in a job that may skip it.
    pub fn poison<'a>(&self, cause: &'a FailureCause) -> Option<&'a Place> {
        match cause {
            FailureCause::ProcessDied { alone: true, place, .. } => Some(&**place),
            _ => None,
        }
        .filter(|place| self.plan.skip_bad_records.is_some() && place.names_record())
    }

    pub fn needs_map_outputs(&self) -> bool {
        self.plan.partitions > 0 && !self.publishing && self.ended.is_none()
    }
}
