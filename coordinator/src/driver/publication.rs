//! The end of a job: its output is published, or its partial output removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::oneshot;
use windrow_jobs::{AttemptId, FailureCause, JobId, TaskId};
use windrow_scheduler::journal::Epoch;
use windrow_scheduler::{Event, JobState, Outcome, StageView, Unpublished};

use super::action::Action;
use super::jobs::{Due, Folder, LiveJob};
use super::{Driver, Pending};
use crate::explain;
use crate::output::{ManifestJob, Publication, StageCounts, StagedPart, Stop};

/// How often taking over the output folder of a former coordinator's job is retried, and the first
/// pause, which doubles.
const FOLDER_RETRIES: u32 = 4;
const FOLDER_PAUSE: Duration = Duration::from_secs(1);

impl Driver {
    /// From here on no other coordinator can have this epoch, so the folders of all jobs may be
    /// taken over.
    pub(super) fn take_charge(&mut self) {
        if self.in_charge || !self.decider.is_durable() {
            return;
        }
        self.in_charge = true;
        for id in self.jobs.ids() {
            self.take_folder(id, Duration::ZERO);
            match self.scheduler().job(id).map(|job| job.state) {
                Some(JobState::Ended(outcome)) => {
                    self.want(id, Due::CleanUp { succeeded: outcome == Outcome::Succeeded });
                }
                None => self.want(id, Due::CleanUp { succeeded: false }),
                Some(JobState::Running | JobState::Publishing) => {}
            }
        }
    }

    fn take_folder(&mut self, id: JobId, after: Duration) {
        let Some(work) = self.catalog().work(id) else { return };
        let (name, paths) = (work.spec.job.clone(), work.paths.clone());
        let state = self.scheduler().job(id).map(|job| job.state);
        let ended = !matches!(state, Some(JobState::Running | JobState::Publishing));
        self.actions.push_back(Action::TakeFolder { job: id, name, paths, ended, after });
    }

    /// A folder was taken over, or cannot be.
    pub(super) fn folder_taken(&mut self, id: JobId, result: Result<(), FailureCause>) {
        let Some(live) = self.jobs.get_mut(id) else { return };
        match (result, &mut live.folder) {
            (Ok(()), folder) => *folder = Folder::Held,
            (Err(cause), Folder::Taking { failures }) if *failures < FOLDER_RETRIES => {
                tracing::warn!(job = %id, %cause, "cannot take over a job's output folder; retrying");
                let after = FOLDER_PAUSE * 2_u32.pow(*failures);
                *failures += 1;
                self.take_folder(id, after);
            }
            (Err(cause), folder) => {
                tracing::error!(job = %id, %cause, "cannot take over a job's output folder; the job fails");
                *folder = Folder::Lost;
                // Nothing can be published there. A job that has ended is settled all the same.
                live.due = live.due.take().filter(|due| matches!(due, Due::CleanUp { .. }));
                self.handle(Event::OutputLost { job: id, cause });
                self.answer_cancels(id);
            }
        }
        self.do_what_is_due(id);
    }

    /// Publishes a job whose tasks are all done, once its processes have ended.
    pub(super) fn publish(&mut self, job: JobId, winners: Vec<AttemptId>) {
        let stop = Stop::default();
        if let Some(live) = self.jobs.get_mut(job) {
            live.publication = Some(stop.clone());
        }
        self.release_everywhere(job);
        self.want(job, Due::Publish(winners, stop));
    }

    /// A publication has ended. A stopped one has failed with a transient fault: the job waits to
    /// be published again, and can be cancelled.
    pub(super) fn published(&mut self, job: JobId, result: Result<(), Unpublished>) {
        if let Some(live) = self.jobs.get_mut(job) {
            // Cleared before the scheduler is told, which may begin another publication.
            live.publication = None;
        }
        self.handle(Event::Published { job, result });
        self.answer_cancels(job);
    }

    /// Cancels a job. A running publication is stopped first, which takes no longer than one file;
    /// once the manifest is being written, it is too late.
    pub(super) fn cancel(&mut self, job: JobId, reply: oneshot::Sender<bool>) {
        let publishes = |live: &&mut LiveJob| {
            live.publication.as_ref().is_some_and(|publication| publication.stop())
        };
        match self.jobs.get_mut(job).filter(publishes) {
            Some(live) => {
                live.cancelling.push(reply);
                // The publication was stopped before it began: nothing is visible.
                self.releases.forget(job);
                self.do_what_is_due(job);
            }
            None => {
                let request = self.wait_for_answer(Pending::Cancel(reply));
                self.handle(Event::Cancel { request, job });
            }
        }
    }

    fn answer_cancels(&mut self, job: JobId) {
        let Some(live) = self.jobs.get_mut(job) else { return };
        for reply in std::mem::take(&mut live.cancelling) {
            let request = self.wait_for_answer(Pending::Cancel(reply));
            self.handle(Event::Cancel { request, job });
        }
    }

    /// Schedules work in a job's folder for as soon as the folder is held.
    fn want(&mut self, id: JobId, due: Due) {
        if let Some(live) = self.jobs.get_mut(id) {
            live.due = Some(due);
            self.do_what_is_due(id);
        }
    }

    pub(super) fn do_what_is_due(&mut self, id: JobId) {
        let Some(live) = self.jobs.get_mut(id) else { return };
        if let Folder::Taking { .. } = live.folder {
            return;
        }
        if matches!(live.due, Some(Due::Publish(..))) && self.releases.is_awaited(id) {
            return;
        }
        let Some(due) = live.due.take() else { return };
        let Some(paths) = self.catalog().work(id).map(|work| work.paths.clone()) else { return };
        let action = match due {
            Due::Publish(winners, stop) => {
                let publication = self.publication(id, winners).map(Box::new);
                Action::Publish { job: id, paths, publication, stop }
            }
            Due::CleanUp { succeeded } => Action::CleanUp { job: id, paths, succeeded },
        };
        self.actions.push_back(action);
    }

    /// The publication. O(1) in files and parts: all decisions wait for this thread.
    fn publication(&self, id: JobId, winners: Vec<AttemptId>) -> Result<ToPublish, FailureCause> {
        let unknown = || FailureCause::Unsupported { message: format!("{id} is unknown") };
        let job = self.catalog().job(id).ok_or_else(unknown)?;
        let work = job.work().ok_or_else(unknown)?;
        Ok(ToPublish {
            epoch: self.decider.epoch(),
            job: self.manifest(id).ok_or_else(unknown)?,
            winners,
            parts: Arc::clone(&job.parts),
            bad_records: Arc::clone(&job.bad_records),
            overwrite: work.spec.options.overwrite,
            durable: self.is_shared,
        })
    }

    fn manifest(&self, id: JobId) -> Option<ManifestJob> {
        let (work, view) = (self.catalog().work(id)?, self.scheduler().job(id)?);
        let plan = &work.plan;
        let submitted = work.submitted.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(ManifestJob {
            cluster: self.catalog().cluster.to_string(),
            id: id.0,
            identity: work.identity.to_string(),
            name: work.spec.job.clone(),
            params: serde_json::from_str(&work.spec.params).ok(),
            program_version: work.program_version.clone(),
            program_digest: work.spec.program.executable.digest.to_string(),
            map: stage_counts(&view.map),
            reduce: stage_counts(&view.reduce),
            split_bytes: plan.split_bytes,
            fan_in: plan.fan_in,
            submitted_unix_ms: submitted.as_millis() as u64,
            nondeterministic_map: view.nondeterministic,
            elapsed_ms: self.now().since(view.submitted).as_millis() as u64,
            counters: view.counters.iter().map(|(name, n)| (name.to_string(), n)).collect(),
            inputs: Arc::clone(plan),
        })
    }

    /// A job has ended for good: everything but its results is removed.
    pub(super) fn ended(&mut self, id: JobId, outcome: &Outcome) {
        if let Outcome::Failed(failure) = outcome {
            let reason =
                explain::failure(failure, self.catalog().job(id).map(|job| &*job.shown.spec));
            tracing::warn!(job = %id, %reason, "job failed");
        } else {
            tracing::info!(job = %id, ?outcome, "job ended");
        }
        self.releases.forget(id);
        self.want(id, Due::CleanUp { succeeded: *outcome == Outcome::Succeeded });
    }

    /// A job has ended, and nothing partial is left of it: it is shown as ended.
    pub(super) fn settle(&mut self, job: JobId) {
        self.handle(Event::CleanedUp { job });
        if let Some(live) = self.jobs.settle(job) {
            let ((objects, bytes), before) = (self.written.totals(), live.written_before);
            let (objects, bytes) = (objects - before.0, bytes - before.1);
            if objects > 0 {
                tracing::info!(%job, objects, bytes, "journal written while the job ran");
            }
        }
    }
}

/// A publication whose parts are looked up later, off the driver's thread.
pub(crate) struct ToPublish {
    epoch: Epoch,
    job: ManifestJob,
    winners: Vec<AttemptId>,
    parts: Arc<BTreeMap<TaskId, StagedPart>>,
    bad_records: Arc<BTreeMap<TaskId, StagedPart>>,
    overwrite: bool,
    durable: bool,
}

impl ToPublish {
    /// The publication. Fails if a winner has not reported its part.
    pub(crate) fn look_up(self) -> Result<Publication, FailureCause> {
        let Self { epoch, job, winners, parts, bad_records, overwrite, durable } = self;
        let part = |attempt: &AttemptId| {
            let part = parts.get(&attempt.task).filter(|part| part.attempt == *attempt);
            part.copied().ok_or_else(|| FailureCause::Unsupported {
                message: format!("{attempt} has not reported its part"),
            })
        };
        let parts = winners.iter().map(part).collect::<Result<_, _>>()?;
        let bad_records = bad_records.values().copied().collect();
        Ok(Publication { epoch, job, parts, bad_records, overwrite, durable })
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
