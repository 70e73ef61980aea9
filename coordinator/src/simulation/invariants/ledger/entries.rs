//! The entries of the ledger.

use windrow_jobs::{FailureCause, RecordPlace, StageId, WorkerId};
use windrow_scheduler::{JobPlan, Outcome, RequestId, Time, Unpublished, WorkerOffer};

#[derive(Clone)]
pub struct Session {
    pub offer: WorkerOffer,
    pub draining: bool,
    /// `None` while it is away.
    pub connection: Option<RequestId>,
    pub lease_ends: Time,
    /// When it would end if the connection had not broken.
    pub granted: Time,
}

#[derive(Clone)]
pub struct Attempt {
    pub worker: WorkerId,
    pub status: Status,
    /// Reducers that could not fetch its output.
    pub reports: u32,
    /// Its worker came back without its output, or reported it lost.
    pub missing: bool,
    /// Reducers of its job that had succeeded when it ended.
    pub reduces_won: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Running,
    Done,
    Failed(FailureCause),
    /// By the scheduler.
    Cancelled,
    /// Another attempt of the task was faster, or its input has changed.
    Overtaken,
    /// With its worker, while it ran.
    Lost,
    /// Its worker came back without it: it is assigned again, or lost.
    Unknown,
}

#[derive(Clone)]
pub struct Job {
    pub plan: JobPlan,
    pub cancelled: bool,
    /// Since when no worker that stays can run it.
    pub unfit_since: Option<Time>,
    /// Reducers that have ever succeeded.
    pub reduces_won: u32,
    /// How its last publication ended. Transient failures are retried.
    pub published: Option<Result<(), Unpublished>>,
    pub publishing: bool,
    pub output_lost: Option<FailureCause>,
    pub ended: Option<Outcome>,
}

impl Job {
    /// The stage whose tasks write parts, and their number.
    pub fn output_stage(&self) -> (StageId, u32) {
        match self.plan.partitions {
            0 => (StageId::MAP, self.plan.splits.len() as u32),
            partitions => (StageId::REDUCE, partitions),
        }
    }

    /// Whether its publication is under way, rather than waiting for a retry.
    pub fn is_being_published(&self) -> bool {
        self.publishing && !self.may_be_published_again()
    }

    /// Whether its last publication has failed by a transient fault.
    pub fn may_be_published_again(&self) -> bool {
        let failure = self.published.as_ref().and_then(|result| result.as_ref().err());
        failure.is_some_and(|failure| failure.may_pass)
    }

    /// The poison record that a cause names, which in a job that may skip it is no failure of the
    /// task.
    pub fn poison<'a>(&self, cause: &'a FailureCause) -> Option<&'a RecordPlace> {
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
