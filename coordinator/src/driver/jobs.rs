//! The volatile state of each job, which ends with this process.

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
    /// This coordinator holds the folder.
    Held,
    /// A former coordinator held it, and it is being taken over. This has failed `failures` times.
    Taking { failures: u32 },
    /// The folder could not be taken over, and the job ends.
    Lost,
}

/// Work in a job's output folder that is due as soon as the folder is held.
#[derive(Debug)]
pub(super) enum Due {
    /// Publish these attempts, unless the publication is stopped.
    Publish(Vec<AttemptId>, Stop),
    /// Remove everything but the results.
    CleanUp { succeeded: bool },
}

/// A job that is not over.
pub(super) struct LiveJob {
    /// The job's output folder and declared paths.
    claim: Claim,
    pub(super) folder: Folder,
    /// The work that waits for the folder.
    pub(super) due: Option<Due>,
    /// The workers on which processes of the job may run.
    pub(super) workers: BTreeSet<WorkerId>,
    /// Stops the publication, while one is due or running.
    pub(super) publication: Option<Stop>,
    /// Callers that have stopped the publication and wait for its end.
    pub(super) cancelling: Vec<oneshot::Sender<bool>>,
    /// Objects and bytes written to the journal before the job was accepted.
    pub(super) written_before: (u64, u64),
    /// The locations of the job's map outputs, as announced to workers.
    pub(super) outputs: ToldOutputs,
    context: Option<Arc<Shared>>,
    split_points: Option<Arc<Shared>>,
    /// True from the job's end on.
    watchers: watch::Sender<bool>,
}

impl LiveJob {
    /// The context that every task needs. Built once.
    pub(super) fn context(&mut self, job: JobId, work: &Arc<JobWork>) -> Arc<Shared> {
        let context = || Shared::new(SharedContent::Context(job, Arc::clone(work)));
        Arc::clone(self.context.get_or_insert_with(context))
    }

    /// The split points that map tasks of an ordered job with several ranges need. Built once.
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
    /// The claims of all jobs.
    claims: Claims<JobId>,
    /// Jobs that have changed since their watchers were notified.
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
        let claim = Claim::of(&work.spec, work.paths.output());
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

    /// The job with this output folder.
    pub(super) fn of_output(&self, output: &Path) -> Option<JobId> {
        self.claims.owner_of(output)
    }

    /// Refuses a claim that conflicts with one of the jobs.
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

    /// The job is over, visibly.
    pub(super) fn settle(&mut self, id: JobId) -> Option<LiveJob> {
        let job = self.jobs.remove(&id)?;
        self.claims.remove(&job.claim, id);
        job.watchers.send_replace(true);
        Some(job)
    }

    /// A receiver that changes with the job; for a job that is over, one that is final.
    pub(super) fn watch(&self, id: JobId) -> watch::Receiver<bool> {
        self.get(id).map_or_else(|| watch::channel(true).1, |job| job.watchers.subscribe())
    }

    /// Notes a change of a job.
    pub(super) fn changed(&mut self, id: JobId) {
        self.changed.insert(id);
    }

    /// Notifies the watchers of changed jobs. Watchers poll for changes that come with time or with
    /// the cluster.
    pub(super) fn tell_watchers(&mut self) {
        for id in std::mem::take(&mut self.changed) {
            if let Some(job) = self.jobs.get(&id) {
                job.watchers.send_replace(false);
            }
        }
    }
}
