//! What lives of each job only as long as this process does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use windrow_jobs::{AttemptId, JobId, WorkerId};

use super::catalog::JobWork;
use super::outgoing::{Shared, SharedContent};
use super::outputs::ToldOutputs;
use crate::claims::{Claim, ClaimError, Claims};
use crate::output::Stop;

/// A job's output folder.
#[derive(Debug)]
pub(super) enum Folder {
    /// This coordinator has it.
    Held,
    /// A former coordinator had it, and it is being taken again. That has failed so often.
    Taking { failures: u32 },
    /// It could not be had again, and the job ends.
    Lost,
}

/// What is to be done in a job's output folder as soon as it is held.
#[derive(Debug)]
pub(super) enum Due {
    /// To make these visible, unless it is stopped.
    Publish(Vec<AttemptId>, Stop),
    /// To remove what is not result.
    CleanUp { succeeded: bool },
}

/// A job that is not over.
pub(super) struct LiveJob {
    /// Its output folder, and what it has declared.
    claim: Claim,
    pub(super) folder: Folder,
    /// What waits for the folder.
    pub(super) due: Option<Due>,
    /// The workers on which processes of it may run.
    pub(super) workers: BTreeSet<WorkerId>,
    /// Of its publication, while that is wanted or under way.
    pub(super) publication: Option<Stop>,
    /// Who has stopped its publication, and waits for the end of that.
    pub(super) cancelling: Vec<oneshot::Sender<bool>>,
    /// Objects and bytes in the journal when it came.
    pub(super) written_before: (u64, u64),
    /// Where its map outputs lie, as told to workers.
    pub(super) outputs: ToldOutputs,
    context: Option<Arc<Shared>>,
    split_points: Option<Arc<Shared>>,
    /// True from the end on.
    watchers: watch::Sender<bool>,
}

impl LiveJob {
    /// What every task needs. Built once.
    pub(super) fn context(&mut self, job: JobId, work: &Arc<JobWork>) -> Arc<Shared> {
        let context = || Shared::new(SharedContent::Context(job, Arc::clone(work)));
        Arc::clone(self.context.get_or_insert_with(context))
    }

    /// What map tasks need besides, if it is an ordered job with several ranges. Built once.
    pub(super) fn split_points(&mut self, job: JobId, work: &Arc<JobWork>) -> Option<Arc<Shared>> {
        if work.plan.split_points.iter().len() == 0 {
            return None;
        }
        let points = || Shared::new(SharedContent::SplitPoints(job, Arc::clone(work)));
        Some(Arc::clone(self.split_points.get_or_insert_with(points)))
    }
}

/// All jobs that are not over.
#[derive(Default)]
pub(super) struct LiveJobs {
    jobs: BTreeMap<JobId, LiveJob>,
    /// Of all of them.
    claims: Claims<JobId>,
    /// Jobs that have changed since their watchers were told.
    changed: BTreeSet<JobId>,
}

impl LiveJobs {
    pub(super) fn add(
        &mut self,
        id: JobId,
        work: &JobWork,
        folder: Folder,
        written_before: (u64, u64),
    ) {
        let claim = Claim::of(&work.spec, work.place.output());
        self.claims.add(&claim, id);
        let job = LiveJob {
            claim,
            folder,
            due: None,
            workers: BTreeSet::new(),
            publication: None,
            cancelling: Vec::new(),
            written_before,
            outputs: ToldOutputs::default(),
            context: None,
            split_points: None,
            watchers: watch::Sender::new(false),
        };
        self.jobs.insert(id, job);
    }

    /// The job whose output folder has this name.
    pub(super) fn of_output(&self, output: &Path) -> Option<JobId> {
        self.claims.owner_of(output)
    }

    /// Refuses a claim that one of them stands against.
    pub(super) fn check(&self, claim: &Claim) -> Result<(), ClaimError> {
        self.claims.check_job(claim)
    }

    pub(super) fn get(&self, id: JobId) -> Option<&LiveJob> {
        self.jobs.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut LiveJob> {
        self.jobs.get_mut(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }

    /// The job is over, for everybody to see.
    pub(super) fn settle(&mut self, id: JobId) -> Option<LiveJob> {
        let job = self.jobs.remove(&id)?;
        self.claims.remove(&job.claim, id);
        job.watchers.send_replace(true);
        Some(job)
    }

    /// What changes with the job; for one that is over, what says so and does not change any more.
    pub(super) fn watch(&self, id: JobId) -> watch::Receiver<bool> {
        self.get(id).map_or_else(|| watch::channel(true).1, |job| job.watchers.subscribe())
    }

    /// Something has happened to a job.
    pub(super) fn changed(&mut self, id: JobId) {
        self.changed.insert(id);
    }

    /// Tells those who watch jobs that have changed. What changes only with time, or with the
    /// cluster, is seen by those who look now and then.
    pub(super) fn tell_watchers(&mut self) {
        for id in std::mem::take(&mut self.changed) {
            if let Some(job) = self.jobs.get(&id) {
                job.watchers.send_replace(false);
            }
        }
    }
}
