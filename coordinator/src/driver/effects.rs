//! Carries out what the scheduler asks for.

use std::sync::Arc;

use windrow_jobs::{JobId, WorkerId};
use windrow_scheduler::{Effect, MapOutputs, RequestId};

use super::action::Action;
use super::jobs::Folder;
use super::outgoing::{Assignment, Outgoing};
use super::{Driver, Pending};

impl Driver {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        #[cfg(test)]
        crate::simulation::books::told(&effect);
        if let Some(job) = job_of(&effect) {
            self.jobs.changed(job);
        }
        match effect {
            Effect::Accepted { request, job } => self.accepted(request, job),
            Effect::NotSubmitted { request } => {
                if let Some(Pending::Resubmit(reply)) = self.pending.remove(&request) {
                    let _ = reply.send(None);
                }
            }
            Effect::CancelAnswered { request, cancelled } => {
                if let Some(Pending::Cancel(reply)) = self.pending.remove(&request) {
                    let _ = reply.send(cancelled);
                }
            }
            Effect::Admitted { request, worker } => self.admitted(request, worker),
            Effect::TooLate { request } => self.too_late(request),
            Effect::Noted { worker, attempt, won } => {
                self.sessions.send(worker, Outgoing::Noted { attempt, won });
            }
            Effect::Assign { worker, attempt, outputs, alone, skip } => {
                self.assign(worker, Assignment { attempt, alone, skip }, outputs);
            }
            Effect::CancelAttempt { worker, attempt } => {
                self.sessions.send(worker, Outgoing::Cancel(attempt));
            }
            Effect::Drained { worker } => self.sessions.send(worker, Outgoing::Drained),
            Effect::EndSession { worker, reason } => self.end_session(worker, &reason),
            Effect::Publish { job, winners } => self.publish(job, winners),
            Effect::Ended { job, outcome } => self.ended(job, &outcome),
            Effect::Release { worker, job } => self.sessions.release(worker, job),
        }
    }

    fn accepted(&mut self, request: RequestId, job: JobId) {
        let (place, reply) = match self.pending.remove(&request) {
            Some(Pending::Submit(place, reply)) => (place, reply),
            Some(Pending::Resubmit(reply)) => {
                let _ = reply.send(Some(job));
                return;
            }
            _ => return,
        };
        match self.catalog().work(job) {
            Some(work) if work.place == place => {
                tracing::info!(
                    %job,
                    name = ?work.spec.job,
                    maps = work.plan.splits.len(),
                    reduces = work.plan.partitions,
                    input_bytes = work.plan.input_bytes(),
                    output = ?work.spec.output,
                    "job accepted"
                );
                self.jobs.add(job, Folder::Held, self.written.totals());
            }
            // The same submission was accepted before, with another place.
            _ => self.actions.push_back(Action::GiveBack { place }),
        }
        // It runs even if its submitter is gone already.
        let _ = reply.send(job);
    }

    fn assign(
        &mut self,
        worker: WorkerId,
        assignment: Assignment,
        outputs: Option<Arc<MapOutputs>>,
    ) {
        let attempt = assignment.attempt;
        let job = attempt.task.job;
        let catalog = &self.decider.state().catalog;
        let (Some(live), Some(work)) = (self.jobs.get_mut(job), catalog.work(job)) else { return };
        let work = Arc::clone(work);
        let message = match outputs {
            None => Outgoing::Map { assignment, work },
            Some(outputs) => {
                let table = live.outputs_table(job, &outputs, catalog);
                self.sessions.send_outputs(worker, &table);
                Outgoing::Reduce { assignment, work, outputs_version: outputs.version }
            }
        };
        tracing::debug!(%attempt, %worker, "assigned");
        self.sessions.send(worker, message);
    }
}

/// The job that an effect is about, if it is about one.
fn job_of(effect: &Effect) -> Option<JobId> {
    match effect {
        Effect::Accepted { job, .. }
        | Effect::Publish { job, .. }
        | Effect::Ended { job, .. }
        | Effect::Release { job, .. } => Some(*job),
        Effect::Noted { attempt, .. }
        | Effect::Assign { attempt, .. }
        | Effect::CancelAttempt { attempt, .. } => Some(attempt.task.job),
        Effect::NotSubmitted { .. }
        | Effect::CancelAnswered { .. }
        | Effect::Admitted { .. }
        | Effect::TooLate { .. }
        | Effect::Drained { .. }
        | Effect::EndSession { .. } => None,
    }
}
