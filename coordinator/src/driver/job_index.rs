//! The known jobs, found by their numbers and their identities.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windrow_jobs::{JobId, JobIdentity};

use super::catalog::CatalogJob;

/// The jobs, by number. A job's identity never changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<JobId, CatalogJob>", into = "BTreeMap<JobId, CatalogJob>")]
pub(super) struct JobIndex {
    jobs: BTreeMap<JobId, CatalogJob>,
    /// Derived.
    by_identity: BTreeMap<JobIdentity, JobId>,
}

impl JobIndex {
    /// Adds a job, unless its number is known.
    pub(super) fn insert_new(&mut self, id: JobId, job: impl FnOnce() -> CatalogJob) {
        let job = self.jobs.entry(id).or_insert_with(job);
        self.by_identity.insert(job.shown.identity, id);
        debug_assert_eq!(self.by_identity.len(), self.jobs.len(), "no two jobs have one identity");
    }

    /// Removes all jobs that are not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(JobId, &CatalogJob) -> bool) {
        self.jobs.retain(|id, job| {
            let stays = wanted(*id, job);
            if !stays {
                self.by_identity.remove(&job.shown.identity);
            }
            stays
        });
    }

    /// The job of this identity.
    pub(super) fn of_identity(&self, identity: JobIdentity) -> Option<JobId> {
        self.by_identity.get(&identity).copied()
    }

    pub(super) fn get(&self, id: JobId) -> Option<&CatalogJob> {
        self.jobs.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut CatalogJob> {
        self.jobs.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, &CatalogJob)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut CatalogJob> {
        self.jobs.values_mut()
    }
}

impl From<BTreeMap<JobId, CatalogJob>> for JobIndex {
    fn from(jobs: BTreeMap<JobId, CatalogJob>) -> Self {
        let by_identity = jobs.iter().map(|(id, job)| (job.shown.identity, *id)).collect();
        Self { jobs, by_identity }
    }
}

impl From<JobIndex> for BTreeMap<JobId, CatalogJob> {
    fn from(known: JobIndex) -> Self {
        known.jobs
    }
}
