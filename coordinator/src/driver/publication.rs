//! The end of a job: its output becomes visible, or what is left of it goes.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use windrow_jobs::{AttemptId, FailureCause, JobId};
use windrow_scheduler::{Event, JobState, Outcome, StageView, Unpublished};

use super::{Command, Driver};
use crate::explain;
use crate::output::{self, ManifestInput, ManifestJob, Publication, StageCounts};

impl Driver {
    /// Publishes in a task of its own, which reports back.
    pub(super) fn publish(&mut self, job: JobId, winners: &[AttemptId]) {
        let (Some(live), Some(commands)) = (self.jobs.get(job), self.own_commands.upgrade()) else {
            return;
        };
        let reservation = live.reservation.clone();
        let publication = self.publication(job, winners);
        tokio::spawn(async move {
            let publish = move || match reservation {
                Ok(reservation) => output::publish(reservation.place(), &publication?),
                Err(message) => {
                    Err(FailureCause::Io { path: "its output".into(), message, disk_full: false })
                }
            };
            // The task fails to join only when it panicked or the runtime is going down.
            let result = tokio::task::spawn_blocking(publish).await;
            let result = result.unwrap_or(Err(FailureCause::Cancelled));
            // Which ones may pass is not told apart yet.
            let result = result.map_err(|cause| Unpublished { cause, may_pass: false });
            let _ = commands.send(Command::Published { job, result }).await;
        });
    }

    /// What is to become visible. Fails if a winner has not said what it wrote.
    fn publication(&self, id: JobId, winners: &[AttemptId]) -> Result<Publication, FailureCause> {
        let unknown = || FailureCause::Unsupported { message: format!("{id} is not known") };
        let job = self.catalog().job(id).ok_or_else(unknown)?;
        let work = job.work.as_ref().ok_or_else(unknown)?;
        let part = |attempt: &AttemptId| {
            job.parts.get(attempt).copied().ok_or_else(|| FailureCause::Unsupported {
                message: format!("{attempt} has not said what it wrote"),
            })
        };
        Ok(Publication {
            epoch: self.decider.epoch(),
            job: self.manifest(id).ok_or_else(unknown)?,
            parts: winners.iter().map(part).collect::<Result<_, _>>()?,
            quarantines: job.quarantines.values().copied().collect(),
            overwrite: work.spec.options.overwrite,
            durable: self.journal.is_shared(),
            failpoint: self.failpoint.clone(),
        })
    }

    fn manifest(&self, id: JobId) -> Option<ManifestJob> {
        let (work, view) = (self.catalog().work(id)?, self.scheduler().job(id)?);
        let plan = &work.plan;
        let inputs = plan.files.iter().map(|file| ManifestInput {
            name: plan.inputs[file.input as usize].name.clone(),
            path: file.path.clone(),
            bytes: file.bytes,
            modified_unix_ns: file.modified_unix_ns,
        });
        let submitted = work.submitted.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(ManifestJob {
            cluster: self.catalog().cluster.to_string(),
            id: id.0,
            name: work.spec.job.clone(),
            params: serde_json::from_str(&work.spec.params).ok(),
            program_version: self.build.version.clone(),
            program_digest: self.build.digest.clone(),
            map: stage_counts(&view.map),
            reduce: stage_counts(&view.reduce),
            split_bytes: plan.split_bytes,
            fan_in: plan.fan_in,
            submitted_unix_ms: submitted.as_millis() as u64,
            nondeterministic_map: view.nondeterministic,
            elapsed_ms: self.now().since(view.submitted).as_millis() as u64,
            counters: view.counters.iter().map(|(name, n)| (name.to_string(), n)).collect(),
            inputs: inputs.collect(),
        })
    }

    /// A job has ended, for good.
    pub(super) fn ended(&mut self, id: JobId, outcome: &Outcome) {
        if let Outcome::Failed(failure) = outcome {
            let reason =
                explain::failure(failure, self.catalog().job(id).map(|job| &*job.shown.spec));
            tracing::warn!(job = %id, %reason, "job failed");
        } else {
            tracing::info!(job = %id, ?outcome, "job ended");
        }
        self.clean_up(id, *outcome == Outcome::Succeeded);
    }

    /// What a former coordinator has left of jobs that ended before they were settled.
    pub(super) fn clean_up_ended(&mut self) {
        for id in self.jobs.ids() {
            match self.scheduler().job(id).map(|job| job.state) {
                Some(JobState::Ended(Outcome::Succeeded)) => self.clean_up(id, true),
                Some(JobState::Ended(_)) | None => self.clean_up(id, false),
                Some(JobState::Running | JobState::Publishing) => {}
            }
        }
    }

    /// Removes all that is not result, in a task of its own, which reports back.
    fn clean_up(&mut self, job: JobId, succeeded: bool) {
        let (Some(live), Some(commands)) = (self.jobs.get(job), self.own_commands.upgrade()) else {
            return;
        };
        let reservation = live.reservation.as_ref().ok().map(Arc::clone);
        tokio::spawn(async move {
            let cleaned_up = match reservation {
                Some(reservation) if succeeded => reservation.remove_temporary().await,
                Some(reservation) => reservation.discard().await,
                None => Ok(()),
            };
            if let Err(error) = cleaned_up {
                tracing::warn!(%job, %error, "cannot remove what a job has left in its output folder");
            }
            let _ = commands.send(Command::CleanedUp { job }).await;
        });
    }

    /// A job has ended, and nothing partial is left of it: observers may know.
    pub(super) fn settle(&mut self, job: JobId) {
        self.handle(Event::Settled { job });
        if let Some(live) = self.jobs.settle(job) {
            let ((objects, bytes), before) = (self.journal.written().totals(), live.written_before);
            let (objects, bytes) = (objects - before.0, bytes - before.1);
            if objects > 0 {
                tracing::info!(%job, objects, bytes, "journal written while the job ran");
            }
        }
    }
}

fn stage_counts(view: &StageView) -> StageCounts {
    StageCounts {
        tasks: view.tasks,
        attempts: view.attempts,
        backups: view.backups,
        backups_won: view.backups_won,
        input_records: view.records,
        input_bytes: view.bytes,
    }
}
