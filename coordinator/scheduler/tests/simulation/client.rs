//! Model submitters: each has one job, and asks until it hears that it was accepted.

use std::time::Duration;

use windrow_jobs::JobId;
use windrow_scheduler::{Event, JobPlan, RequestId, SubmissionId};

use crate::happening::Happening;
use crate::world::World;

pub struct Client {
    plan: JobPlan,
    pub job: Option<JobId>,
    /// Whether anybody may have heard of its job.
    submitted: bool,
}

impl Client {
    pub fn new(plan: JobPlan) -> Self {
        Self { plan, job: None, submitted: false }
    }
}

impl World {
    /// A client asks, the first time or again.
    pub fn ask(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.job.is_some() {
            return;
        }
        let again = client.submitted && self.rng.chance(500);
        let client = &mut self.clients[index];
        let request = RequestId(index as u64 * 2);
        let submission = SubmissionId(index as u128);
        let event = if again {
            Event::Resubmit { request, submission }
        } else {
            client.submitted = true;
            Event::Submit { request, submission, plan: client.plan.clone() }
        };
        self.later(Duration::from_secs(4), Happening::Ask(index));
        let Some(coordinator) = self.pick_coordinator() else { return };
        if !self.strikes(self.faults.lose) {
            self.later_doubled(self.faults.delay_max_ms, Happening::Arrive(coordinator, event));
        }
    }

    pub fn accepted(&mut self, index: usize, job: JobId) {
        if self.strikes(self.faults.lose) {
            return;
        }
        let first = self.clients[index].job.replace(job).is_none();
        if first && self.strikes(self.faults.cancel) {
            let after = self.rng.millis(0, 40_000);
            self.later(after, Happening::Cancel(job));
        }
    }

    pub fn cancel(&mut self, job: JobId) {
        let Some(index) = self.pick_coordinator() else { return };
        let event = Event::Cancel { request: RequestId(0), job };
        self.later_doubled(self.faults.delay_max_ms, Happening::Arrive(index, event));
    }
}
