//! What an observer gets to see: copies, made on demand.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use windrow_jobs::{JobId, JobIdentity, JobName, JobSpec, WorkerId};
use windrow_scheduler::{JobState, JobView, Time, WorkerView};

use super::catalog::CatalogJob;
use super::{Driver, WorkerProfile};
use crate::claims::{Claim, ClaimError};
use crate::plan::{ClusterSize, InputSize};

/// A job at one moment.
#[derive(Clone, Debug)]
pub(crate) struct JobSnapshot {
    /// As the scheduler sees it.
    pub(crate) view: JobView,
    /// Its name for ever.
    pub(crate) identity: JobIdentity,
    /// With the first inputs only.
    pub(crate) spec: Arc<JobSpec>,
    /// The name in the certificate of who submitted it.
    pub(crate) submitter: Option<String>,
    /// All of its inputs.
    pub(crate) inputs: Arc<Vec<InputSize>>,
    /// Largest input of a map task, as chosen.
    pub(crate) split_bytes: u64,
    /// Sorted runs that a merge reads at once, as chosen.
    pub(crate) fan_in: u32,
    /// What it was planned for.
    pub(crate) cluster: ClusterSize,
    /// Whether it is over and nothing partial is left of it.
    pub(crate) settled: bool,
    /// When this was taken.
    pub(crate) now: Time,
    /// Name of the worker that ran the slowest task.
    pub(crate) slowest_worker: String,
    /// Names of the workers that it avoids.
    pub(crate) avoided_workers: Vec<String>,
}

/// A worker at one moment.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSnapshot {
    /// As the scheduler sees it.
    pub(crate) view: WorkerView,
    /// What it has said of itself.
    pub(crate) profile: Arc<WorkerProfile>,
    /// Since its last message.
    pub(crate) silent: Duration,
}

/// A job that has an output folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputOwner {
    pub(crate) job: JobId,
    /// Whether only what is not result is still to be removed there.
    pub(crate) ended: bool,
}

impl Driver {
    pub(crate) fn job_snapshot(&self, id: JobId) -> Option<JobSnapshot> {
        self.snapshot_of(self.scheduler().job(id)?)
    }

    /// So many at most, the latest first.
    pub(super) fn latest_jobs(&self, before: Option<JobId>, most: usize) -> Vec<JobSnapshot> {
        let jobs = self.scheduler().latest_jobs(before);
        jobs.filter_map(|view| self.snapshot_of(view)).take(most).collect()
    }

    fn snapshot_of(&self, view: JobView) -> Option<JobSnapshot> {
        let job = self.visible(view.job)?;
        let name = |worker: WorkerId| {
            let profile = self.catalog().worker(worker);
            profile.map_or_else(|| worker.to_string(), |profile| profile.name.clone())
        };
        let slowest_worker = view.slowest.map_or_else(String::new, |slowest| name(slowest.worker));
        let avoided_workers = view.avoided.iter().map(|worker| name(*worker)).collect();
        Some(JobSnapshot {
            view,
            identity: job.shown.identity,
            spec: Arc::clone(&job.shown.spec),
            submitter: job.shown.submitter.clone(),
            inputs: Arc::clone(&job.shown.inputs),
            split_bytes: job.shown.split_bytes,
            fan_in: job.shown.fan_in,
            cluster: job.shown.cluster,
            settled: job.work().is_none(),
            now: self.now(),
            slowest_worker,
            avoided_workers,
        })
    }

    /// The number of the job that somebody means.
    pub(super) fn number_of(&self, name: JobName) -> Option<JobId> {
        self.catalog().named(name).filter(|id| self.visible(*id).is_some())
    }

    /// The name for ever of a job that is known.
    pub(super) fn identity_of(&self, id: JobId) -> Option<JobIdentity> {
        self.visible(id).map(|job| job.shown.identity)
    }

    /// The job to which an output folder belongs until it is over: by the folder's name, or by what
    /// was found in it, which counts where the folder has several names.
    pub(crate) fn owner_of(&self, output: &Path, found: &[JobIdentity]) -> Option<OutputOwner> {
        let named = self.jobs.of_output(output);
        let by_identity = |identity: &JobIdentity| {
            let job = self.catalog().named(JobName::Identity(*identity))?;
            self.jobs.get(job).map(|_| job)
        };
        let job = named.or_else(|| found.iter().find_map(by_identity))?;
        let state = self.scheduler().job(job).map(|view| view.state);
        let ended = !matches!(state, Some(JobState::Running | JobState::Publishing));
        Some(OutputOwner { job, ended })
    }

    /// Refuses a claim that a job which is not over stands against.
    pub(super) fn check_claim(&self, claim: &Claim) -> Result<(), ClaimError> {
        self.jobs.check(claim)
    }

    /// What changes with the job; `None` when it is not known.
    pub(super) fn watch(&self, id: JobId) -> Option<watch::Receiver<bool>> {
        self.visible(id).map(|_| self.jobs.watch(id))
    }

    /// A job that the journal has for good: what a crash could make undone is not to be seen.
    fn visible(&self, id: JobId) -> Option<&CatalogJob> {
        let job = self.catalog().job(id)?;
        let is_accepted = job.work().is_none() || self.jobs.get(id).is_some();
        is_accepted.then_some(job)
    }

    pub(super) fn works_for(&self, identity: &str, job: JobId) -> Option<bool> {
        let worker = self.catalog().worker_of_identity(identity)?;
        Some(self.scheduler().works_for(worker, job))
    }

    pub(super) fn cluster_size(&self) -> ClusterSize {
        self.catalog().cluster_size()
    }

    pub(super) fn worker_snapshots(&self) -> Vec<WorkerSnapshot> {
        let now = self.now();
        let snapshot = |view: WorkerView| {
            let profile = Arc::clone(self.catalog().worker(view.worker)?);
            Some(WorkerSnapshot { silent: now.since(view.heard), view, profile })
        };
        self.scheduler().workers().filter_map(snapshot).collect()
    }
}
