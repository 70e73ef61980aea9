//! The driver's durable knowledge beside the scheduler's: the cluster's identity, the content of
//! jobs, the files of attempts, and the profiles of workers.
//!
//! It is journaled and replayed like the scheduler, and changes in `apply` alone,
//! by events and their effects. The driver keeps what ends with the process: connections, locks,
//! waiting callers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use windrow_jobs::{
    AttemptId, JobId, JobIdentity, JobName, JobSpec, Location, Platform, TaskId, WorkerId,
};
#[cfg(test)]
use windrow_scheduler::Attachment;
use windrow_scheduler::journal::{AttachmentId, Content};
use windrow_scheduler::{Effect, Event, Scheduler, Time};

use super::job_index::JobIndex;
use super::members::Members;
use super::profile::WorkerProfile;
use crate::blobs::Held;
use crate::journal::ClusterId;
use crate::output::{AttemptFiles, OutputPaths, StagedPart};
use crate::plan::{ClusterSize, InputSize, Plan};
use crate::submitter::{Load, Submitter};

/// Inputs that a status shows; a shell may have expanded one pattern to many.
const INPUTS_SHOWN_MAX: usize = 16;

/// The durable state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    pub(crate) cluster: ClusterId,
    jobs: JobIndex,
    workers: Members,
    /// The simulator's recorder.
    #[cfg(test)]
    #[serde(skip)]
    pub(crate) recorder: crate::simulation::recorder::Recorder,
}

/// A job that can be asked about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct CatalogJob {
    pub(super) shown: Arc<ShownJob>,
    /// `None` once it has ended and nothing partial is left of it.
    work: Option<JobRef>,
    /// The part of each task's winner. Shared with the publication, after which none is added.
    pub(super) parts: Arc<BTreeMap<TaskId, StagedPart>>,
    /// The bad records that each task's winner has skipped.
    pub(super) bad_records: Arc<BTreeMap<TaskId, StagedPart>>,
}

/// The parts of a status that the scheduler does not know.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ShownJob {
    pub(super) identity: JobIdentity,
    /// With the first inputs only.
    pub(super) spec: Arc<JobSpec>,
    pub(super) submitter: Option<String>,
    pub(super) inputs: Arc<Vec<InputSize>>,
    pub(super) split_bytes: u64,
    pub(super) fan_in: u32,
    pub(super) cluster: ClusterSize,
}

/// The content of a job, for assignments and the publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobWork {
    /// Random and unique.
    pub(crate) identity: JobIdentity,
    /// As submitted.
    pub(crate) spec: JobSpec,
    /// The version of the job's program.
    pub(crate) program_version: String,
    /// The name in the submitter's certificate, if there was one.
    pub(crate) submitter: Option<String>,
    /// The job's tasks. Shared with the manifest, which names all input files.
    pub(crate) plan: Arc<Plan>,
    /// The job's folders.
    pub(crate) paths: OutputPaths,
    pub(crate) submitted: SystemTime,
}

/// A job, by the attachment of the journal that holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRef {
    /// The attachment; `None` if the journal is in memory.
    attachment: Option<AttachmentId>,
    /// Its content. `None` after a read of the journal, until it is [taken](JobRef::take).
    #[serde(skip)]
    work: Option<Arc<JobWork>>,
}

impl JobRef {
    pub(super) fn new(attachment: Option<AttachmentId>, work: Arc<JobWork>) -> Self {
        Self { attachment, work: Some(work) }
    }

    fn take(&mut self, attachments: &BTreeMap<AttachmentId, Arc<JobWork>>) {
        self.work = self.attachment.and_then(|id| attachments.get(&id).cloned());
    }
}

impl JobWork {
    /// The work of a job with this plan.
    #[cfg(test)]
    pub(crate) fn for_test(scheduled: &windrow_scheduler::JobPlan, paths: OutputPaths) -> Self {
        use windrow_jobs::{JobExecutable, JobOptions};

        let options = JobOptions {
            max_attempts: scheduled.max_attempts,
            task_timeout: scheduled.task_timeout,
            worker_wait: scheduled.worker_wait,
            priority: scheduled.priority,
            skip_bad_records: scheduled.skip_bad_records,
            ..JobOptions::default()
        };
        let program = JobExecutable { needs: scheduled.needs.clone(), ..JobExecutable::default() };
        let spec = JobSpec {
            job: "test".into(),
            params: "{}".into(),
            inputs: Vec::new(),
            output: Location::of_path(paths.output()).expect("a path"),
            options,
            program,
            files: Vec::new(),
            writable: Vec::new(),
        };
        let plan = Arc::new(Plan::for_test(scheduled));
        let submitted = SystemTime::UNIX_EPOCH;
        // No two jobs have the same paths.
        let hash = blake3::hash(format!("{paths:?}").as_bytes());
        let identity =
            hash.as_bytes().iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte));
        let identity = JobIdentity(identity);
        let program_version = "1".into();
        let submitter = Some(scheduled.submitter.to_string());
        Self { identity, spec, program_version, submitter, plan, paths, submitted }
    }

    /// The job's plan for the scheduler.
    pub(crate) fn to_schedule(&self) -> windrow_scheduler::JobPlan {
        self.plan.to_schedule(&self.spec, self.submitter.as_deref())
    }

    /// Where the job's attempts write.
    pub(crate) fn staging(&self) -> Location {
        let output = &self.spec.output;
        let folder = output.to_local().ok().map(|output| self.paths.staging_in(output));
        // In the file system, what lies beneath a location has one, too. Elsewhere, attempts write
        // to the output itself.
        folder.and_then(|folder| Location::of_path(&folder)).unwrap_or_else(|| output.clone())
    }
}

/// The part of an event that concerns the catalog and not the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// Nothing.
    #[default]
    Nothing,
    /// `Submit` is about this job.
    Job(JobRef),
    /// `WorkerJoined` is about this worker.
    Worker(Arc<WorkerProfile>),
    /// `AttemptDone` reports these files.
    Written(AttemptFiles),
}

impl Content for Note {
    fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        if let Self::Job(JobRef { attachment: Some(id), .. }) = self {
            name(*id);
        }
    }
}

impl windrow_scheduler::Catalog for Catalog {
    type Note = Note;
    type Attachment = JobWork;

    fn apply(
        &mut self,
        _at: Time,
        event: &Event,
        note: Note,
        effects: &[Effect],
        scheduler: &Scheduler,
    ) {
        #[cfg(test)]
        self.recorder.apply(_at, event, effects);
        match (event, note) {
            (Event::WorkerLeft { worker, .. }, _) => self.workers.remove(*worker),
            (Event::CleanedUp { job }, _) => self.settle(*job, scheduler),
            (Event::AttemptDone { attempt, .. }, Note::Written(written))
                if has_won(*attempt, effects) =>
            {
                if let Some(job) = self.jobs.get_mut(attempt.task.job) {
                    job.keep(*attempt, written);
                }
            }
            (_, Note::Job(job)) => self.add_job(job, effects),
            (_, Note::Worker(profile)) => self.add_worker(&profile, effects),
            _ => {}
        }
        for effect in effects {
            if let Effect::EndSession { worker, .. } = effect {
                self.workers.remove(*worker);
            }
        }
    }

    fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        self.jobs.iter().filter_map(|(_, job)| job.work.as_ref()?.attachment).for_each(name);
    }

    fn take_attachments(&mut self, attachments: &BTreeMap<AttachmentId, Arc<JobWork>>) {
        let works = self.jobs.values_mut().filter_map(|job| job.work.as_mut());
        works.for_each(|job| job.take(attachments));
    }

    /// The splits are in the job's plan already.
    fn strip(event: &mut Event, note: &Note) {
        if let (Event::Submit { plan, .. }, Note::Job(JobRef { attachment: Some(_), .. })) =
            (event, note)
        {
            plan.splits = Arc::default();
        }
    }

    fn complete(
        event: &mut Event,
        note: &mut Note,
        attachments: &BTreeMap<AttachmentId, Arc<JobWork>>,
    ) {
        let Note::Job(job) = note else { return };
        job.take(attachments);
        if let (Event::Submit { plan, .. }, Some(work)) = (event, &job.work) {
            plan.splits = work.to_schedule().splits;
        }
    }
}

fn has_won(part: AttemptId, effects: &[Effect]) -> bool {
    let won = |effect: &Effect| matches!(effect, Effect::Noted { attempt, won: true, .. } if *attempt == part);
    effects.iter().any(won)
}

#[cfg(test)]
impl Catalog {
    /// The attachments that the catalog refers to.
    pub(crate) fn attachments(&self) -> BTreeMap<AttachmentId, Arc<Attachment<JobWork>>> {
        let jobs = self.jobs.iter().filter_map(|(_, job)| job.work.as_ref());
        let attachment = |work| Arc::new(Attachment::Catalog(work));
        jobs.filter_map(|job| Some((job.attachment?, attachment(job.work.clone()?)))).collect()
    }
}

impl Catalog {
    /// The catalog of a new cluster.
    pub(crate) fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            jobs: JobIndex::default(),
            workers: Members::default(),
            #[cfg(test)]
            recorder: Default::default(),
        }
    }

    pub(super) fn job(&self, id: JobId) -> Option<&CatalogJob> {
        self.jobs.get(id)
    }

    /// The job of this name, if it is known.
    pub(super) fn named(&self, name: JobName) -> Option<JobId> {
        match name {
            JobName::Number(id) => self.jobs.get(id).map(|_| id),
            JobName::Identity(identity) => self.jobs.of_identity(identity),
        }
    }

    /// The work of a job that is not over.
    pub(crate) fn work(&self, id: JobId) -> Option<&Arc<JobWork>> {
        self.job(id)?.work()
    }

    /// Jobs that are not over, or whose partial output may not be removed yet.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = (JobId, &Arc<JobWork>)> {
        self.jobs.iter().filter_map(|(id, job)| Some((id, job.work()?)))
    }

    pub(super) fn worker(&self, id: WorkerId) -> Option<&Arc<WorkerProfile>> {
        self.workers.get(id)
    }

    pub(super) fn worker_ids(&self) -> impl Iterator<Item = WorkerId> {
        self.workers.ids()
    }

    /// Workers that cannot coexist with this one: a folder has one worker, and so has a
    /// certificate.
    pub(super) fn rivals(&self, profile: &WorkerProfile) -> Vec<(WorkerId, Arc<WorkerProfile>)> {
        self.workers.rivals(profile)
    }

    /// The worker with a certificate of this name.
    pub(super) fn worker_of_identity(&self, name: &str) -> Option<WorkerId> {
        self.workers.of_identity(name)
    }

    /// The size of the cluster.
    pub(super) fn cluster_size(&self) -> ClusterSize {
        let workers = self.workers.profiles();
        ClusterSize {
            workers: workers.len() as u32,
            threads: workers.clone().map(|profile| profile.threads).sum(),
            memory_bytes: workers.map(|profile| profile.memory_bytes).min().unwrap_or(0),
        }
    }

    /// The workers, by name, with their platforms.
    pub(super) fn platforms(&self) -> Vec<(String, Platform)> {
        let workers = self.workers.profiles();
        workers.map(|worker| (worker.name.clone(), worker.platform.clone())).collect()
    }

    /// Programs and side files of jobs that are not over, with their submitters.
    pub(super) fn blobs_in_use(&self) -> Vec<Held> {
        let of_job = |(_, work): (JobId, &Arc<JobWork>)| {
            let of = Submitter::named(work.submitter.as_deref());
            let files = work.spec.files.iter().map(|file| file.blob.digest);
            let digests = files.chain([work.spec.program.executable.digest]);
            digests.map(|digest| (digest, of)).collect::<Vec<_>>()
        };
        self.unsettled().flat_map(of_job).collect()
    }

    /// The jobs of a submitter that are not over.
    pub(super) fn load_of(&self, submitter: &str) -> Load {
        let own = self.unsettled().filter(|(_, work)| work.submitter.as_deref() == Some(submitter));
        own.map(|(_, work)| Load::of(&work.spec)).fold(Load::default(), Load::and)
    }

    fn add_job(&mut self, job: JobRef, effects: &[Effect]) {
        let accepted = effects.iter().find_map(|effect| match effect {
            Effect::Accepted { job, .. } => Some(*job),
            _ => None,
        });
        // A repeated submission leaves the accepted job as it is.
        if let (Some(id), Some(work)) = (accepted, job.work.clone()) {
            self.jobs.insert_new(id, || CatalogJob::new(job, &work));
        }
    }

    fn add_worker(&mut self, profile: &Arc<WorkerProfile>, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Admitted { worker, .. } = effect {
                self.workers.insert(*worker, Arc::clone(profile));
            }
        }
    }

    /// Settles a job, and forgets the jobs that the scheduler has forgotten.
    fn settle(&mut self, id: JobId, scheduler: &Scheduler) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.work = None;
            job.parts = Arc::default();
            job.bad_records = Arc::default();
        }
        self.jobs.retain(|id, job| job.work.is_some() || scheduler.job(id).is_some());
    }
}

impl CatalogJob {
    fn new(job: JobRef, work: &JobWork) -> Self {
        let mut spec = work.spec.clone();
        spec.inputs.truncate(INPUTS_SHOWN_MAX);
        let shown = ShownJob {
            identity: work.identity,
            spec: Arc::new(spec),
            submitter: work.submitter.clone(),
            inputs: Arc::new(work.plan.inputs.clone()),
            split_bytes: work.plan.split_bytes,
            fan_in: work.plan.fan_in,
            cluster: work.plan.cluster,
        };
        let (parts, bad_records) = (Arc::default(), Arc::default());
        Self { shown: Arc::new(shown), work: Some(job), parts, bad_records }
    }

    /// The job's content; `None` once it has ended and nothing partial is left of it.
    pub(super) fn work(&self) -> Option<&Arc<JobWork>> {
        self.work.as_ref()?.work.as_ref()
    }

    /// Notes the files of a winner. They replace those of a lost former winner of the same task.
    fn keep(&mut self, attempt: AttemptId, AttemptFiles { part, bad_records }: AttemptFiles) {
        match part {
            Some(part) => drop(Arc::make_mut(&mut self.parts).insert(attempt.task, part)),
            None if self.parts.contains_key(&attempt.task) => {
                Arc::make_mut(&mut self.parts).remove(&attempt.task);
            }
            None => {}
        }
        match bad_records {
            Some(bad_records) => {
                Arc::make_mut(&mut self.bad_records).insert(attempt.task, bad_records);
            }
            None if self.bad_records.contains_key(&attempt.task) => {
                Arc::make_mut(&mut self.bad_records).remove(&attempt.task);
            }
            None => {}
        }
    }
}
