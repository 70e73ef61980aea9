//! Runs attempts of jobs that are linked into this binary, on threads of this process.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use windrow_jobs::fan_in::{default_fan_in, merge_bytes};
use windrow_jobs::user_code::BadRecordPolicy;
use windrow_jobs::{
    AttemptId, BadRecord, FailureCause, JobId, JobIdentity, RecordPlace, Registry, TaskId,
};

use super::directory::WorkerDirectory;
use super::job::LocalJob;
use super::pool::Pools;
use super::{ExecutorConfig, no_credentials};
use crate::breadcrumb::{BreadcrumbFile, breadcrumb_path};
use crate::identity::Identity;
use crate::memory::Account;
use crate::model::{Finished, JobContext, Progress, RunRequest, Work};
use crate::shuffle::ShuffleService;
use crate::shuffle::block::Codec;
use crate::shuffle::fetch::{FetchPlan, Fetcher};
use crate::shuffle::spill::Scratch;
use crate::shuffle::store::SegmentStore;
use crate::shuffle::transport::ShuffleTls;
use crate::shuffle::transport::peers::Peers;
use crate::sync::lock;
use crate::task::{self, Attempt, CoreLease, Cores, Outcome};

#[cfg(test)]
mod tests;

/// How long a cancelled attempt may take to notice before its threads are abandoned.
const GRACE: Duration = Duration::from_secs(1);

/// The executor: user code runs in this process.
pub struct InProcess {
    config: ExecutorConfig,
    registry: Arc<Registry>,
    memory: Account,
    cores: Cores,
    pools: Pools,
    jobs: Mutex<HashMap<JobId, Arc<LocalJob>>>,
    store: Arc<SegmentStore>,
    identity: Arc<Identity>,
    fetcher: Arc<Fetcher>,
    /// Whether threads of abandoned attempts may still be running.
    has_strays: AtomicBool,
    /// Dropped last: the folder stays locked while anything is removed from it. `None` where
    /// another process has locked it.
    directory: Option<WorkerDirectory>,
}

impl InProcess {
    /// Takes possession of the folder.
    #[cfg(test)]
    pub fn new(
        config: ExecutorConfig,
        registry: Arc<Registry>,
    ) -> Result<Self, super::ExecutorError> {
        let directory = WorkerDirectory::open(&config.directory)?;
        let config = ExecutorConfig { directory: directory.jobs().to_path_buf(), ..config };
        Ok(Self::with_directory(config, registry, directory))
    }

    /// Works in a folder that is already locked.
    pub(crate) fn with_directory(
        config: ExecutorConfig,
        registry: Arc<Registry>,
        directory: WorkerDirectory,
    ) -> Self {
        Self::build(config, registry, Some(directory))
    }

    /// Shares the folder with the worker that has locked it, and with other processes of that
    /// worker.
    pub(crate) fn beside(config: ExecutorConfig, registry: Arc<Registry>) -> Self {
        Self::build(config, registry, None)
    }

    fn build(
        config: ExecutorConfig,
        registry: Arc<Registry>,
        directory: Option<WorkerDirectory>,
    ) -> Self {
        let store = Arc::new(SegmentStore::new(config.directory.clone(), config.serial));
        let identity = Arc::new(Identity::default());
        let fetcher = Fetcher {
            identity: Arc::clone(&identity),
            host: config.host.clone(),
            store: Arc::clone(&store),
            peers: Arc::new(Peers::new(config.tls.clone(), config.fetch.connect)),
            timeouts: config.fetch,
            threads: config.threads.max(1),
        };
        Self {
            memory: Account::of_process(config.memory_bytes),
            cores: Cores::new(config.threads.max(1)),
            config,
            registry,
            pools: Pools::default(),
            jobs: Mutex::default(),
            store,
            identity,
            fetcher: Arc::new(fetcher),
            has_strays: AtomicBool::new(false),
            directory,
        }
    }

    /// This worker's identity: fetches that are meant for another worker are refused, and all
    /// fetches while there is no lease.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// How its connections are secured.
    pub(crate) fn tls(&self) -> &ShuffleTls {
        &self.config.tls
    }

    /// The service from which other workers fetch the outputs of attempts.
    pub fn shuffle_service(&self) -> ShuffleService {
        let (store, identity) = (Arc::clone(&self.store), Arc::clone(&self.identity));
        ShuffleService::new(store, identity, self.memory.clone())
    }

    /// Runs an attempt to its end. When `cancel` fires, it ends with [`FailureCause::Cancelled`]
    /// within a second or so, whatever the user's code is doing. An attempt that does not succeed
    /// leaves no file; nor does one whose future is dropped.
    pub async fn run(
        &self,
        request: RunRequest,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<Finished, FailureCause> {
        self.be_certified(&request, &cancel).await?;
        let job = self.job(&request, &cancel)?;
        let stop = job.released.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let threads = self.threads(&request);
        let pool = tokio::select! {
            pool = self.pools.lease(threads) => pool?,
            () = cancel.cancelled() => return Err(FailureCause::Cancelled),
        };
        let attempt = request.attempt;
        let cores = Arc::new(self.cores.lease(stop.clone()));
        let work = self.work(request, job, progress, stop.clone(), threads, Arc::clone(&cores));
        let (sender, mut receiver) = oneshot::channel();
        pool.spawn(move || {
            let outcome =
                catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)));
            // If nobody waits any more, the outcome is dropped here, and its file with it.
            let _ = sender.send(outcome);
        });
        let outcome = tokio::select! {
            biased;
            outcome = &mut receiver => Some(outcome),
            () = cancel.cancelled() => None,
            () = stop.cancelled() => None,
        };
        if let Some(outcome) = outcome {
            self.pools.give_back(pool);
            let is_late = cancel.is_cancelled() || stop.is_cancelled();
            return keep(outcome.unwrap_or(Err(FailureCause::Cancelled)), is_late);
        }
        stop.cancel();
        if tokio::time::timeout(GRACE, receiver).await.is_ok() {
            self.pools.give_back(pool);
        } else {
            tracing::warn!(%attempt, "a cancelled attempt does not stop; abandoning its threads");
            cores.give_up();
            self.has_strays.store(true, Ordering::Relaxed);
        }
        Err(FailureCause::Cancelled)
    }

    /// Other workers may fetch an attempt's output as soon as it ends, so the job's certificate
    /// must be here before.
    async fn be_certified(
        &self,
        request: &RunRequest,
        cancel: &CancellationToken,
    ) -> Result<(), FailureCause> {
        tokio::select! {
            certified = self.config.tls.of(request.context.identity) => match certified {
                Ok(_) => Ok(()),
                Err(error) => Err(no_credentials(request.attempt.task.job, &error)),
            },
            () = cancel.cancelled() => Err(FailureCause::Cancelled),
        }
    }

    /// From now on, also serves the outputs that other processes have left in the job's folder.
    pub(crate) fn adopt(&self, job: JobId, identity: JobIdentity) -> Result<(), FailureCause> {
        self.store.folder(job, identity).map(|_| ())
    }

    /// Whether threads of abandoned attempts may still be running, for good or for a while.
    pub(crate) fn has_strays(&self) -> bool {
        self.has_strays.load(Ordering::Relaxed)
    }

    /// Changes the memory limit of all attempts together.
    pub(crate) fn set_memory_bytes(&self, memory_bytes: u64) {
        self.memory.set_limit_bytes(memory_bytes);
    }

    /// Writes outputs in memory to their files until no more is held than allowed. Blocks, perhaps
    /// for long.
    pub(crate) fn evict_surplus(&self) {
        self.store.evict_until(|| self.memory.has_room(0));
    }

    /// Removes the output of a map attempt. May block for a moment.
    pub fn discard_output(&self, attempt: AttemptId) {
        self.store.discard(attempt.task.job, (attempt.task.index, attempt.number));
    }

    /// A reducer has won, so its partition may be freed. Only a worker that is alone in its cluster
    /// frees it: should the partition be needed again, because a map turns out to be
    /// nondeterministic, its maps run again. In a cluster it stays, since the loss of a worker
    /// makes that likelier. May block for a moment.
    pub fn free_partition(&self, reduce: TaskId) {
        if self.config.is_only_worker {
            self.store.free_partition(reduce.job, reduce.index);
        }
    }

    /// Ends a job's attempts and removes its files, so it may block for a moment.
    pub fn release(&self, id: JobId) {
        if let Some(job) = lock(&self.jobs).remove(&id) {
            job.released.cancel();
            self.fetcher.peers.forget(job.folder.job());
            self.config.tls.forget(job.folder.job());
        }
        self.store.release(id);
    }

    /// Releases all jobs, as when the session is lost.
    pub fn release_all(&self) {
        for job in std::mem::take(&mut *lock(&self.jobs)).into_values() {
            job.released.cancel();
        }
        self.config.tls.forget_all();
        self.store.release_all();
    }

    /// The job's state, unless the attempt has been cancelled: the job may already have been
    /// released.
    fn job(
        &self,
        request: &RunRequest,
        cancel: &CancellationToken,
    ) -> Result<Arc<LocalJob>, FailureCause> {
        let id = request.attempt.task.job;
        let mut jobs = lock(&self.jobs);
        let identity = request.context.identity;
        if cancel.is_cancelled() {
            if !jobs.contains_key(&id) {
                self.config.tls.forget(identity);
            }
            return Err(FailureCause::Cancelled);
        }
        if let Some(job) = jobs.get(&id) {
            return Ok(Arc::clone(job));
        }
        let limit_bytes = request.context.memory_bytes.unwrap_or(u64::MAX);
        let job = LocalJob::new(self.store.folder(id, identity)?, self.memory.child(limit_bytes));
        Ok(Arc::clone(jobs.entry(id).or_insert(Arc::new(job))))
    }

    /// A map task uses all threads that the job may have, a reduce task one. A suspect uses one,
    /// too, so that if it kills the process, the record is known.
    fn threads(&self, request: &RunRequest) -> usize {
        match &request.work {
            _ if request.alone => 1,
            Work::Map { .. } => {
                let wanted = request.context.threads.map_or(usize::MAX, |threads| threads as usize);
                wanted.min(self.config.threads).max(1)
            }
            Work::Reduce(_) => 1,
        }
    }

    /// Most files that one merge may keep open. All merges together get half of the process's
    /// limit, since connections, parts, and serving others need as many.
    fn files_max(&self) -> usize {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        usize::try_from(most).unwrap_or(usize::MAX) / self.config.threads.max(1)
    }

    fn work(
        &self,
        request: RunRequest,
        job: Arc<LocalJob>,
        progress: Arc<Progress>,
        cancel: CancellationToken,
        threads: usize,
        cores: Arc<CoreLease>,
    ) -> impl FnOnce() -> Result<Outcome, FailureCause> + Send + 'static {
        let RunRequest { attempt: id, context, work, alone, skip } = request;
        // A worker that runs jobs itself leaves nobody behind who could read the breadcrumb.
        let breadcrumb = (alone && self.directory.is_none())
            .then(|| breadcrumb_path(&self.config.directory, id.task.job, self.config.serial));
        let by_memory = || default_fan_in(job.memory.limit_bytes(), self.config.threads as u32);
        let merge_bytes = merge_bytes(context.fan_in.unwrap_or_else(by_memory));
        let codec = Codec::on_this_machine(context.compression);
        let (folder, steps) = (Arc::clone(&job.folder), Arc::clone(&progress));
        let files_max = self.files_max();
        let owner = folder.owner(id.task.stage, id.task.index, id.number);
        let scratch =
            Scratch { folder, owner, cancel, progress: steps, merge_bytes, files_max, codec };
        let (registry, fetcher) = (Arc::clone(&self.registry), Arc::clone(&self.fetcher));
        let store = Arc::clone(&self.store);
        let ExecutorConfig { outputs_on_disk, is_only_worker, .. } = self.config;
        let runtime = Handle::current();
        move || {
            let program = job.program(&registry, &context)?;
            let bad_records = bad_record_policy(&context, breadcrumb, skip)?;
            let (memory, pairs) = (job.memory.clone(), job.pairs.clone());
            let attempt = Attempt {
                id,
                context,
                program,
                bad_records,
                progress,
                scratch,
                store,
                outputs_on_disk,
                is_only_worker,
                memory,
                pairs,
                threads,
                large: Arc::clone(&job.large),
                cores,
            };
            match work {
                Work::Map { input, ranges } => task::map(&attempt, input, ranges),
                Work::Reduce(outputs) => task::reduce(&attempt, |streams| {
                    fetcher.sources(&FetchPlan {
                        job: id.task.job,
                        identity: attempt.context.identity,
                        partition: id.task.index,
                        outputs: &outputs,
                        streams,
                        runtime: runtime.clone(),
                        cancel: attempt.scratch.cancel.clone(),
                        compression: attempt.context.compression,
                        memory: attempt.memory.clone(),
                    })
                }),
            }
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // A process of one job leaves its outputs to its successor, and to its worker.
        if self.directory.is_some() {
            self.release_all();
        }
    }
}

/// How an attempt goes about what user code may not cope with; `breadcrumb` is for a suspect.
fn bad_record_policy(
    context: &JobContext,
    breadcrumb: Option<PathBuf>,
    skip: Vec<BadRecord>,
) -> Result<BadRecordPolicy, FailureCause> {
    let breadcrumb = breadcrumb.map(BreadcrumbFile::create).transpose()?;
    Ok(BadRecordPolicy {
        skips_bad_records: context.skip_bad_records.is_some(),
        breadcrumb: breadcrumb.map(|breadcrumb| Arc::new(breadcrumb) as _),
        poison: skip.into(),
    })
}

/// The report of an attempt that succeeded; only now its file may stay.
fn keep(outcome: Result<Outcome, FailureCause>, is_late: bool) -> Result<Finished, FailureCause> {
    match outcome {
        // Failures caused by the removal of the job's files are not worth reporting.
        _ if is_late => Err(FailureCause::Cancelled),
        outcome => outcome.map(Outcome::keep),
    }
}

/// Panics of user code are caught at its calls; this is for panics in its constructors and
/// destructors, and in the engine.
fn panicked(panic: &(dyn Any + Send)) -> FailureCause {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into());
    FailureCause::UserPanic { place: RecordPlace::default(), message }
}
