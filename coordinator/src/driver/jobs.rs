//! What lives of each job only as long as this process does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use windrow_jobs::{AttemptId, JobId, WorkerId};
use windrow_scheduler::MapOutputs;

use super::catalog::Catalog;
use super::outgoing::{HeldOutputs, OutputsTable};

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
    /// As last sent.
    outputs: Option<Arc<OutputsTable>>,
    /// True from the end on.
    watchers: watch::Sender<bool>,
}

impl LiveJob {
    /// The map outputs by worker. Built once a version.
    pub(super) fn outputs_table(
        &mut self,
        job: JobId,
        outputs: &MapOutputs,
        catalog: &Catalog,
    ) -> Arc<OutputsTable> {
        match &self.outputs {
            Some(table) if table.version == outputs.version => Arc::clone(table),
            _ => {
                let table = Arc::new(by_worker(job, outputs, catalog));
                Arc::clone(self.outputs.insert(table))
            }
        }
    }
}

fn by_worker(job: JobId, outputs: &MapOutputs, catalog: &Catalog) -> OutputsTable {
    let mut holders: BTreeMap<WorkerId, Vec<(u32, u32)>> = BTreeMap::new();
    for (attempt, worker) in &outputs.outputs {
        holders.entry(*worker).or_default().push((attempt.task.index, attempt.number));
    }
    let held = |(worker, outputs)| HeldOutputs {
        worker,
        profile: catalog.worker(worker).cloned(),
        outputs,
    };
    OutputsTable { job, version: outputs.version, holders: holders.into_iter().map(held).collect() }
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
        let job = LiveJob { folder, due: None, written_before, outputs: None, watchers };
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

    /// Tells those who watch jobs that have changed. What changes only with time, or with the cluster, is seen by those
    /// who look now and then.
    pub(super) fn tell_watchers(&mut self) {
        for id in std::mem::take(&mut self.changed) {
            if let Some(job) = self.jobs.get(&id) {
                job.watchers.send_replace(false);
            }
        }
    }
}
