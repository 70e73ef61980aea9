//! Carries out the scheduler's effects.

use std::mem::replace;
use std::sync::Arc;

use windrow_jobs::{JobId, WorkerId};
use windrow_scheduler::{Effect, MapOutputs, RequestId};

use super::action::Action;
use super::jobs::Folder;
use super::outgoing::{Assignment, Outgoing, Receipt};
use super::{Driver, Pending};

impl Driver {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        #[cfg(test)]
        crate::simulation::recorder::told(&effect);
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
                self.sessions.answer(worker, Receipt::Noted { attempt, won });
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
            Effect::Release { worker, job } => self.sessions.release(worker, job, None),
        }
    }

    fn accepted(&mut self, request: RequestId, job: JobId) {
        let (paths, reply) = match self.pending.remove(&request) {
            Some(Pending::Submit(paths, reply)) => (paths, reply),
            Some(Pending::Resubmit(reply)) => {
                let _ = reply.send(Some(job));
                return;
            }
            _ => return,
        };
        match self.catalog().work(job) {
            Some(work) if work.paths == paths => {
                tracing::info!(
                    %job,
                    name = ?work.spec.job,
                    maps = work.plan.splits.len(),
                    reduces = work.plan.partitions,
                    input_bytes = work.plan.input_bytes(),
                    output = %work.spec.output,
                    "job accepted"
                );
                let work = Arc::clone(work);
                self.jobs.add(job, &work, Folder::Held, self.written.totals());
            }
            // The same submission was accepted before, with other paths.
            _ => self.actions.push_back(Action::GiveBack { paths }),
        }
        // The job runs even if its submitter has disconnected.
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
        let Some(told) = self.sessions.told(worker, job) else { return };
        live.workers.insert(worker);
        let mut first = Vec::new();
        if outputs.is_none() && !replace(&mut told.split_points, true) {
            first.extend(live.split_points(job, work));
        }
        if !replace(&mut told.context, true) {
            first.push(live.context(job, work));
        }
        let order = match outputs {
            None => Outgoing::Map { assignment, work: Arc::clone(work) },
            Some(outputs) => {
                let since = told.outputs.replace(outputs.version);
                let hosts = self.sessions.hosts();
                first.extend(live.outputs.since(since, job, &outputs, catalog, hosts));
                Outgoing::Reduce { assignment, outputs_version: outputs.version }
            }
        };
        tracing::debug!(%attempt, %worker, "assigned");
        first.iter().for_each(|shared| self.sessions.send_shared(worker, shared));
        self.sessions.send(worker, order);
    }
}

/// The job that an effect concerns, if any.
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
