//! What the driver keeps of each job besides what the scheduler knows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use windrow_jobs::{AttemptId, JobId, JobSpec, WorkerId};
use windrow_scheduler::MapOutputs;

use super::outgoing::{HeldOutputs, OutputsTable};
use super::workers::Workers;
use crate::output::{Reservation, StagedPart};
use crate::plan::{ClusterSize, InputSize, Plan};

/// Inputs that a status shows; a shell may have made many of one pattern.
const INPUTS_SHOWN_MAX: usize = 16;

/// A job that has been planned and has its output folder.
pub(crate) struct Submission {
    /// As submitted.
    pub(crate) spec: JobSpec,
    /// Its tasks.
    pub(crate) plan: Plan,
    /// Its output folder.
    pub(crate) reservation: Arc<Reservation>,
}

/// What assignments are made of.
#[derive(Debug)]
pub(crate) struct JobWork {
    /// As submitted.
    pub(crate) spec: JobSpec,
    /// Its tasks.
    pub(crate) plan: Plan,
    /// Where its attempts write.
    pub(crate) staging: PathBuf,
}

/// A job that somebody may ask about.
pub(super) struct Job {
    /// With the first inputs only.
    pub(super) shown: Arc<JobSpec>,
    pub(super) inputs: Arc<Vec<InputSize>>,
    pub(super) split_bytes: u64,
    pub(super) cluster: ClusterSize,
    /// `None` once it has ended and nothing partial is left of it.
    pub(super) live: Option<LiveJob>,
    /// True from the end on.
    watchers: watch::Sender<bool>,
}

/// What only a job that is not over needs.
pub(super) struct LiveJob {
    pub(super) work: Arc<JobWork>,
    pub(super) reservation: Arc<Reservation>,
    pub(super) submitted: SystemTime,
    /// Those that attempts have reported.
    pub(super) parts: BTreeMap<AttemptId, StagedPart>,
    /// As last sent.
    outputs: Option<Arc<OutputsTable>>,
}

impl LiveJob {
    /// The map outputs by worker. Built once a version.
    pub(super) fn outputs_table(
        &mut self,
        job: JobId,
        outputs: &MapOutputs,
        workers: &Workers,
    ) -> Arc<OutputsTable> {
        match &self.outputs {
            Some(table) if table.version == outputs.version => Arc::clone(table),
            _ => {
                let table = Arc::new(by_worker(job, outputs, workers));
                Arc::clone(self.outputs.insert(table))
            }
        }
    }
}

fn by_worker(job: JobId, outputs: &MapOutputs, workers: &Workers) -> OutputsTable {
    let mut holders: BTreeMap<WorkerId, Vec<(u32, u32)>> = BTreeMap::new();
    for (attempt, worker) in &outputs.outputs {
        holders.entry(*worker).or_default().push((attempt.task.index, attempt.number));
    }
    let held = |(worker, outputs)| HeldOutputs {
        worker,
        profile: workers.profile(worker).cloned(),
        outputs,
    };
    OutputsTable { job, version: outputs.version, holders: holders.into_iter().map(held).collect() }
}

/// All jobs that the scheduler still knows.
#[derive(Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<JobId, Job>,
}

impl Jobs {
    pub(super) fn add(&mut self, id: JobId, submission: Submission) {
        let Submission { spec, plan, reservation } = submission;
        let mut shown = spec.clone();
        shown.inputs.truncate(INPUTS_SHOWN_MAX);
        let job = Job {
            shown: Arc::new(shown),
            inputs: Arc::new(plan.inputs.clone()),
            split_bytes: plan.split_bytes,
            cluster: plan.cluster,
            live: Some(LiveJob {
                work: Arc::new(JobWork {
                    spec,
                    plan,
                    staging: reservation.staging().to_path_buf(),
                }),
                reservation,
                submitted: SystemTime::now(),
                parts: BTreeMap::new(),
                outputs: None,
            }),
            watchers: watch::Sender::new(false),
        };
        self.jobs.insert(id, job);
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    pub(super) fn live_mut(&mut self, id: JobId) -> Option<&mut LiveJob> {
        self.jobs.get_mut(&id)?.live.as_mut()
    }

    pub(super) fn keep_part(&mut self, part: StagedPart) {
        if let Some(live) = self.live_mut(part.attempt.task.job) {
            live.parts.insert(part.attempt, part);
        }
    }

    /// The job is over, for everybody to see.
    pub(super) fn settle(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.live = None;
            job.watchers.send_replace(true);
        }
    }

    /// Forgets jobs that the scheduler has forgotten.
    pub(super) fn forget(&mut self, is_known: impl Fn(JobId) -> bool) {
        self.jobs.retain(|id, job| job.live.is_some() || is_known(*id));
    }

    /// Jobs that are not over.
    pub(super) fn unsettled(&self) -> Vec<JobId> {
        self.jobs.iter().filter(|(_, job)| job.live.is_some()).map(|(id, _)| *id).collect()
    }

    pub(super) fn watch(&self, id: JobId) -> Option<watch::Receiver<bool>> {
        self.get(id).map(|job| job.watchers.subscribe())
    }

    /// Something has happened that may have changed any job that is not over.
    pub(super) fn tell_watchers(&self) {
        for job in self.jobs.values().filter(|job| job.live.is_some()) {
            job.watchers.send_replace(false);
        }
    }
}
