//! Snapshots for observers: copies, made on demand.

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
    /// The job's identity.
    pub(crate) identity: JobIdentity,
    /// With the first inputs only.
    pub(crate) spec: Arc<JobSpec>,
    /// The name in the submitter's certificate.
    pub(crate) submitter: Option<String>,
    pub(crate) inputs: Arc<Vec<InputSize>>,
    /// The chosen size of splits.
    pub(crate) split_bytes: u64,
    /// The chosen fan-in.
    pub(crate) fan_in: u32,
    /// The cluster that the job was planned for.
    pub(crate) cluster: ClusterSize,
    /// Whether the job is over and nothing partial is left of it.
    pub(crate) settled: bool,
    /// The time of the snapshot.
    pub(crate) now: Time,
    /// The worker that ran the slowest task.
    pub(crate) slowest_worker: String,
    /// The workers that the job avoids.
    pub(crate) avoided_workers: Vec<String>,
}

/// A worker at one moment.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSnapshot {
    /// As the scheduler sees it.
    pub(crate) view: WorkerView,
    /// The worker's description of itself.
    pub(crate) profile: Arc<WorkerProfile>,
    /// Time since the worker's last message.
    pub(crate) silent: Duration,
}

/// A job that has an output folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputOwner {
    pub(crate) job: JobId,
    /// Whether the job has ended, and only its cleanup is left.
    pub(crate) ended: bool,
}

impl Driver {
    pub(crate) fn job_snapshot(&self, id: JobId) -> Option<JobSnapshot> {
        self.snapshot_of(self.scheduler().job(id)?)
    }

    /// At most `most` jobs, the latest first.
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

    /// The number of the job of this name.
    pub(super) fn number_of(&self, name: JobName) -> Option<JobId> {
        self.catalog().named(name).filter(|id| self.visible(*id).is_some())
    }

    /// The identity of a known job.
    pub(super) fn identity_of(&self, id: JobId) -> Option<JobIdentity> {
        self.visible(id).map(|job| job.shown.identity)
    }

    /// The job that owns an output folder until it is over: by the folder's name, or by the jobs
    /// found in it, which count where the folder has several names.
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

    /// Refuses a claim that conflicts with a job that is not over.
    pub(super) fn check_claim(&self, claim: &Claim) -> Result<(), ClaimError> {
        self.jobs.check(claim)
    }

    /// A receiver that changes with the job; `None` if the job is unknown.
    pub(super) fn watch(&self, id: JobId) -> Option<watch::Receiver<bool>> {
        self.visible(id).map(|_| self.jobs.watch(id))
    }

    /// A job that is durable: what a crash could undo is not shown.
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
