//! What lives of each job only as long as this process does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use windrow_jobs::{AttemptId, JobId};

use super::catalog::JobWork;
use super::outgoing::{Shared, SharedContent};
use super::outputs::ToldOutputs;

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
    /// To make these visible.
    Publish(Vec<AttemptId>),
    /// To remove what is not result.
    CleanUp { succeeded: bool },
}

/// A job that is not over.
pub(super) struct LiveJob {
    pub(super) folder: Folder,
    /// What waits for the folder.
    pub(super) due: Option<Due>,
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
    /// Jobs that have changed since their watchers were told.
    changed: BTreeSet<JobId>,
}

impl LiveJobs {
    pub(super) fn add(&mut self, id: JobId, folder: Folder, written_before: (u64, u64)) {
        let watchers = watch::Sender::new(false);
        let (due, outputs, context, split_points) = Default::default();
        let job = LiveJob { folder, due, written_before, outputs, context, split_points, watchers };
        self.jobs.insert(id, job);
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

    /// Whether any folder of a former coordinator has not been tried yet.
    pub(super) fn any_untried(&self) -> bool {
        let untried = |job: &LiveJob| matches!(job.folder, Folder::Taking { failures: 0 });
        self.jobs.values().any(untried)
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }

    /// The job is over, for everybody to see.
    pub(super) fn settle(&mut self, id: JobId) -> Option<LiveJob> {
        let job = self.jobs.remove(&id)?;
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
