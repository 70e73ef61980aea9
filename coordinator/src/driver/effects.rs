//! Carries out what the scheduler asks for.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use windrow_jobs::{AttemptId, FailureCause, JobId, WorkerId};
use windrow_scheduler::{Effect, MapOutputs, Outcome, RequestId, StageView};

use super::outgoing::Outgoing;
use super::{Command, Driver, Pending};
use crate::explain;
use crate::output::{self, ManifestInput, ManifestJob, Publication, StageCounts};

impl Driver {
    pub(super) fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Accepted { request, job } => self.accepted(request, job),
            Effect::CancelAnswered { request, cancelled } => {
                if let Some(Pending::Cancel(reply)) = self.pending.remove(&request) {
                    let _ = reply.send(cancelled);
                }
            }
            Effect::Admitted { request, worker } => self.admitted(request, worker),
            Effect::Assign { worker, attempt, outputs } => self.assign(worker, attempt, outputs),
            Effect::CancelAttempt { worker, attempt } => self.workers.cancel(worker, attempt),
            Effect::Drained { worker } => self.workers.send(worker, Outgoing::Drained),
            Effect::EndSession { worker, reason } => {
                if let Some(profile) = self.workers.end(worker, &reason) {
                    tracing::warn!(%worker, name = ?profile.name, %reason, "worker lost");
                }
            }
            Effect::Publish { job, winners } => self.publish(job, &winners),
            Effect::Ended { job, outcome } => self.ended(job, &outcome),
            Effect::Release { worker, job } => self.workers.release(worker, job),
        }
    }

    fn accepted(&mut self, request: RequestId, job: JobId) {
        let Some(Pending::Submit(submission, reply)) = self.pending.remove(&request) else {
            return;
        };
        tracing::info!(
            %job,
            name = ?submission.spec.job,
            maps = submission.plan.splits.len(),
            reduces = submission.plan.partitions,
            input_bytes = submission.plan.input_bytes(),
            output = ?submission.spec.output,
            "job accepted"
        );
        self.jobs.add(job, *submission);
        // It runs even if its submitter is gone already.
        let _ = reply.send(job);
    }

    fn admitted(&mut self, request: RequestId, worker: WorkerId) {
        let Some(Pending::Join(profile, reply)) = self.pending.remove(&request) else { return };
        tracing::info!(
            %worker,
            name = ?profile.name,
            threads = profile.threads,
            memory_bytes = profile.memory_bytes,
            "worker joined"
        );
        // If nobody takes it, the outbox is closed, and the next message finds the worker unreachable.
        let _ = reply.send(Ok(self.workers.add(worker, profile)));
    }

    fn assign(&mut self, worker: WorkerId, attempt: AttemptId, outputs: Option<Arc<MapOutputs>>) {
        let job = attempt.task.job;
        let Some(live) = self.jobs.live_mut(job) else { return };
        let work = Arc::clone(&live.work);
        let message = match outputs {
            None => Outgoing::Map { attempt, work },
            Some(outputs) => {
                let table = live.outputs_table(job, &outputs, &self.workers);
                self.workers.send_outputs(worker, &table);
                Outgoing::Reduce { attempt, work, outputs_version: outputs.version }
            }
        };
        tracing::debug!(%attempt, %worker, "assigned");
        self.workers.assign(worker, attempt, message);
    }

    fn publish(&mut self, job: JobId, winners: &[AttemptId]) {
        let publication = self.publication(job, winners);
        let (Some(live), Some(commands)) = (self.jobs.live_mut(job), self.own_commands.upgrade())
        else {
            return;
        };
        let reservation = Arc::clone(&live.reservation);
        tokio::spawn(async move {
            let result = match publication {
                Ok(publication) => {
                    let reservation = Arc::clone(&reservation);
                    let publish = move || output::publish(&reservation, &publication);
                    // The task fails to join only when it panicked or the runtime is going down.
                    tokio::task::spawn_blocking(publish)
                        .await
                        .unwrap_or(Err(FailureCause::Cancelled))
                }
                Err(cause) => Err(cause),
            };
            if result.is_ok()
                && let Err(error) = reservation.remove_temporary().await
            {
                tracing::warn!(%job, %error, "cannot remove the temporary folder of a job that succeeded");
            }
            let _ = commands.send(Command::Published { job, result }).await;
        });
    }

    /// What is to become visible. Fails if a winner has not said what it wrote.
    fn publication(&self, id: JobId, winners: &[AttemptId]) -> Result<Publication, FailureCause> {
        let unknown = || FailureCause::Unsupported { message: format!("{id} is not known") };
        let live = self.jobs.get(id).and_then(|job| job.live.as_ref()).ok_or_else(unknown)?;
        let view = self.scheduler.job(id).ok_or_else(unknown)?;
        let part = |attempt: &AttemptId| {
            live.parts.get(attempt).copied().ok_or_else(|| FailureCause::Unsupported {
                message: format!("{attempt} has not said what it wrote"),
            })
        };
        let plan = &live.work.plan;
        let inputs = plan.files.iter().map(|file| ManifestInput {
            name: plan.inputs[file.input as usize].name.clone(),
            path: file.path.clone(),
            bytes: file.bytes,
            modified_unix_ns: file.modified_unix_ns,
        });
        let submitted = live.submitted.duration_since(UNIX_EPOCH).unwrap_or_default();
        let job = ManifestJob {
            id: id.0,
            name: live.work.spec.job.clone(),
            params: serde_json::from_str(&live.work.spec.params).ok(),
            program_version: self.build.version.clone(),
            program_digest: self.build.digest.clone(),
            map: stage_counts(&view.map),
            reduce: stage_counts(&view.reduce),
            split_bytes: plan.split_bytes,
            submitted_unix_ms: submitted.as_millis() as u64,
            elapsed_ms: self.now().since(view.submitted).as_millis() as u64,
            counters: view.counters.iter().map(|(name, n)| (name.to_string(), n)).collect(),
            inputs: inputs.collect(),
        };
        Ok(Publication { job, parts: winners.iter().map(part).collect::<Result<_, _>>()? })
    }

    fn ended(&mut self, id: JobId, outcome: &Outcome) {
        if let Outcome::Failed(failure) = outcome {
            let reason = explain::failure(failure, self.jobs.get(id).map(|job| &*job.shown));
            tracing::warn!(job = %id, %reason, "job failed");
        } else {
            tracing::info!(job = %id, ?outcome, "job ended");
        }
        if *outcome == Outcome::Succeeded {
            return self.settle(id);
        }
        let (Some(live), Some(commands)) = (self.jobs.live_mut(id), self.own_commands.upgrade())
        else {
            return;
        };
        let reservation = Arc::clone(&live.reservation);
        tokio::spawn(async move {
            if let Err(error) = reservation.discard().await {
                tracing::warn!(job = %id, %error, "cannot remove what a job has left in its output folder");
            }
            let _ = commands.send(Command::Discarded { job: id }).await;
        });
    }

    /// A job has ended, and nothing partial is left of it: observers may know.
    pub(super) fn settle(&mut self, id: JobId) {
        self.jobs.settle(id);
        let scheduler = &self.scheduler;
        self.jobs.forget(|id| scheduler.job(id).is_some());
    }
}

fn stage_counts(view: &StageView) -> StageCounts {
    StageCounts {
        tasks: view.tasks,
        attempts: view.attempts,
        input_records: view.records,
        input_bytes: view.bytes,
    }
}
