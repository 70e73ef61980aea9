//! Runs the attempts of each job in a process of its own, so that user code cannot harm other jobs.
//!
//! ```text
//!  Children -- by job --> ChildrenOfJob -- main, and one for each suspect --> Child ==== process
//!      |                      which outputs are here                      its attempts
//!      +-- spawner: starts them         life: watches and reaps them
//!      +-- printed: records their output  log: sends it
//! ```
//!
//! A process is an executor like that of embedded mode, for one job: it reads input, sorts, writes
//! segments, fetches from other workers and serves its outputs by itself, and no data goes through
//! here. It lives from the job's first attempt until the job is released. Its messages are trusted
//! for its own job only.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{AttemptId, FailureCause, JobId, JobIdentity};
use windrow_proto::v1;
use windrow_security::LocalUsers;

mod child;
mod child_command;
mod confinement;
mod control_group;
mod family;
mod job;
mod job_files;
mod life;
mod limits;
mod log;
mod printed;
mod spawner;
mod start;
mod system_calls;
mod users;

pub(crate) use child_command::is_noexec;
pub use child_command::{CHILD_ARGUMENT, ChildCommand};
pub(crate) use confinement::{is_enforced, knows_scopes, surroundings};
pub(crate) use job_files::Executables;
pub use limits::JobLimits;
pub(crate) use log::PrintedLogs;
pub(crate) use system_calls::CallFilter;
pub use users::JobUsers;
pub(crate) use users::Users;

use super::WorkerDirectory;
use crate::cgroup::Delegated;
use crate::files::{TemporaryFile, put_aside, remove_tree};
use crate::identity::Identity;
use crate::memory::Account;
use crate::model::{Finished, JobContext, Progress, RunRequest};
use crate::orphans::Orphans;
use crate::shuffle::store::SegmentStore;
use crate::shuffle::transport::{JobCertificates, answer_once};
use crate::shuffle::{FetchTimeouts, ShuffleService};
use crate::sync::lock;
use child::Child;
use job::ChildrenOfJob;

/// Receives outputs that were lost with the process that held them.
pub(crate) type LostOutputs = mpsc::UnboundedReceiver<Vec<AttemptId>>;

/// A process that is being started.
type Starting = JoinHandle<Result<Arc<Child>, FailureCause>>;

/// Settings of the processes.
pub(crate) struct ChildSettings {
    /// Finds the executable to start.
    pub executables: Executables,
    /// Threads of each process.
    pub threads: u32,
    /// Memory of all processes together.
    pub memory_bytes: u64,
    /// This machine, as in [`ExecutorConfig`](super::ExecutorConfig).
    pub host: String,
    /// Timeouts for fetches from other workers.
    pub fetch: FetchTimeouts,
    /// The certificates with which they identify themselves to each other; `None` in an open
    /// cluster.
    pub certificates: Option<Arc<JobCertificates>>,
    /// The users whose connections are accepted in an open cluster.
    pub local_users: LocalUsers,
    /// Folders that they must not see, by canonical path: first the worker's, of which they see
    /// only their job's files. `None` hides nothing.
    pub hidden: Option<Arc<[PathBuf]>>,
    /// The filter of their system calls; `None` allows all.
    pub calls: Option<CallFilter>,
    /// The users that they run as; `None` is this worker's user.
    pub users: Option<Arc<Users>>,
    /// The limits of each process.
    pub limits: JobLimits,
    /// Reaps their orphans; `None` where another process adopts them.
    pub orphans: Option<Arc<Orphans>>,
    /// The group in which each process gets a control group of its own; `None` where none was
    /// delegated to this worker.
    pub groups: Option<Arc<Delegated>>,
}

/// The processes of all jobs.
pub(crate) struct Children {
    settings: ChildSettings,
    identity: Arc<Identity>,
    jobs: Mutex<HashMap<JobId, Arc<ChildrenOfJob>>>,
    /// Jobs that are being released.
    ending: Mutex<Vec<Arc<ChildrenOfJob>>>,
    last_serial: AtomicU32,
    living: Mutex<u64>,
    /// Folders that still have to be removed.
    doomed: Mutex<Vec<PathBuf>>,
    /// The memory share of each process.
    share_bytes: watch::Sender<u64>,
    lost: mpsc::UnboundedSender<Vec<AttemptId>>,
    printed: mpsc::Sender<v1::Printed>,
    /// Answers for jobs that are not here.
    nothing: ShuffleService,
    /// Dropped last: the folder stays locked while anything is removed from it.
    directory: WorkerDirectory,
}

impl Children {
    /// An executor without any process yet.
    pub(crate) fn new(
        settings: ChildSettings,
        directory: WorkerDirectory,
    ) -> io::Result<(Self, LostOutputs, PrintedLogs)> {
        let identity = Arc::<Identity>::default();
        let store = Arc::new(SegmentStore::new(directory.jobs().to_path_buf(), 0));
        let account = Account::of_process(settings.memory_bytes);
        let nothing = ShuffleService::new(store, Arc::clone(&identity), account);
        let (lost, losses) = mpsc::unbounded_channel();
        let (printed, logs) = mpsc::channel(log::WAITING_MAX);
        let children = Self {
            share_bytes: watch::Sender::new(settings.limits.budget_within(settings.memory_bytes)),
            settings,
            identity,
            jobs: Mutex::default(),
            ending: Mutex::default(),
            last_serial: AtomicU32::new(0),
            living: Mutex::new(0),
            doomed: Mutex::default(),
            lost,
            printed,
            nothing,
            directory,
        };
        Ok((children, losses, logs))
    }

    /// The absolute path of the folder with the jobs' folders.
    pub(super) fn directory(&self) -> &Path {
        self.directory.jobs()
    }

    /// This worker's identity, which its processes follow.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Runs an attempt to its end; see [`Executor::run`](super::Executor::run).
    pub(crate) async fn run(
        self: &Arc<Self>,
        mut request: RunRequest,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<Finished, FailureCause> {
        let job = self.job(request.attempt.task.job, request.context.identity, &cancel)?;
        let alone = request.alone;
        loop {
            let mut starting = self.process_for(&job, &request.context, alone);
            let child = tokio::select! {
                started = &mut starting => started.unwrap_or(Err(FailureCause::Cancelled))?,
                () = cancel.cancelled() => {
                    if alone {
                        tokio::spawn(end_unused(starting));
                    }
                    return Err(FailureCause::Cancelled);
                }
            };
            // A process that died before it got the request is replaced by another.
            let ended = match child.run(request, &progress, &cancel).await {
                Ok(ended) => ended,
                Err(not_run) => {
                    request = not_run;
                    continue;
                }
            };
            if alone {
                child.end().await;
            } else if child.has_only_strays() {
                self.end_strays(&job, &child).await;
            }
            return users::take_over(&job, ended?).await;
        }
    }

    /// Removes the output of a map attempt.
    pub(crate) async fn discard_output(&self, attempt: AttemptId) {
        let Some(job) = lock(&self.jobs).get(&attempt.task.job).cloned() else { return };
        job.forget_output(attempt);
        if let Some(child) = job.current_main().await {
            child.discard_output(attempt).await;
        }
        let file = TemporaryFile::new(self.segment_path(attempt));
        super::removing(move || drop(file)).await;
    }

    /// Ends the processes of a job and removes its files. Calls `on_end` in between, when all
    /// processes of the job have ended, also those that an earlier call is ending; and also where
    /// the job is not here.
    pub(crate) async fn release(&self, id: JobId, on_end: impl FnOnce()) {
        let job = lock(&self.jobs).remove(&id);
        let ending: Vec<_> = {
            let mut ending = lock(&self.ending);
            ending.extend(job.clone());
            ending.iter().filter(|job| job.id == id).cloned().collect()
        };
        for job in &ending {
            job.stop().await;
        }
        on_end();
        let Some(job) = job else { return };
        self.put_away(&job).await;
        lock(&self.ending).retain(|ending| !Arc::ptr_eq(ending, &job));
        let certificates = self.settings.certificates.iter();
        certificates.for_each(|certificates| certificates.forget(job.identity));
    }

    /// Releases all jobs.
    pub(crate) async fn release_all(&self) {
        let jobs = std::mem::take(&mut *lock(&self.jobs));
        for job in jobs.into_values() {
            self.put_away(&job).await;
        }
        self.settings.certificates.iter().for_each(|certificates| certificates.forget_all());
    }

    /// Whether anything of the job is here.
    pub(crate) fn knows(&self, job: JobIdentity) -> bool {
        self.known(job).is_some()
    }

    fn known(&self, job: JobIdentity) -> Option<Arc<ChildrenOfJob>> {
        lock(&self.jobs).values().find(|known| known.identity == job).cloned()
    }

    /// Hands a connection to the process that serves the job. If the job is not here, the peer gets
    /// that answer, and the connection is closed: the job may be here when the peer reconnects. In
    /// a secured cluster there is no certificate to answer with.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        job: JobIdentity,
        connection: TcpStream,
    ) -> io::Result<()> {
        if self.settings.certificates.is_none() {
            self.settings.local_users.check(&connection).await?;
        }
        let Some(job) = self.known(job) else {
            if self.settings.certificates.is_some() {
                return Err(io::Error::other(format!("job {job} is not here")));
            }
            answer_once(self.nothing.clone(), connection).await;
            return Ok(());
        };
        loop {
            let main = self.main_of(&job).await.map_err(io::Error::other)?;
            let main = main.map_err(|cause| io::Error::other(cause.to_string()))?;
            match main.hand_over(&connection).await {
                // It has just died: its successor has the outputs that are left.
                Err(_) if main.is_ending_soon().await => {}
                handed_over => return handed_over,
            }
        }
    }

    /// A process for an attempt, once the job's files are here. A start runs to its end even if the
    /// caller stops waiting.
    fn process_for(
        self: &Arc<Self>,
        job: &Arc<ChildrenOfJob>,
        context: &Arc<JobContext>,
        alone: bool,
    ) -> Starting {
        let (children, job, context) = (Arc::clone(self), Arc::clone(job), Arc::clone(context));
        tokio::spawn(async move {
            job.prepare(children.settings.executables.of(&context)).await?;
            if alone { job.another(&children).await } else { job.main(&children).await }
        })
    }

    /// The process that serves a job's outputs; likewise.
    fn main_of(self: &Arc<Self>, job: &Arc<ChildrenOfJob>) -> Starting {
        let (children, job) = (Arc::clone(self), Arc::clone(job));
        tokio::spawn(async move { job.main(&children).await })
    }

    /// The job's state, unless the attempt has been cancelled: the job may already have been
    /// released.
    fn job(
        &self,
        id: JobId,
        identity: JobIdentity,
        cancel: &CancellationToken,
    ) -> Result<Arc<ChildrenOfJob>, FailureCause> {
        let mut jobs = lock(&self.jobs);
        if cancel.is_cancelled() {
            return Err(FailureCause::Cancelled);
        }
        let job = jobs.entry(id).or_insert_with(|| Arc::new(ChildrenOfJob::new(id, identity)));
        debug_assert_eq!(
            job.identity, identity,
            "within a session, a job number belongs to one job"
        );
        Ok(Arc::clone(job))
    }

    /// Kills a process in which only abandoned threads run, unless outputs would be lost with it.
    async fn end_strays(self: &Arc<Self>, job: &Arc<ChildrenOfJob>, child: &Child) {
        let (this, of) = (Arc::clone(self), Arc::clone(job));
        let looked = tokio::task::spawn_blocking(move || of.has_outputs_in_memory(&this)).await;
        if matches!(looked, Ok(false)) && child.close_if_only_strays() {
            child.end().await;
        }
    }

    /// Ends a job's processes and removes its folder, which is renamed first so that its name is
    /// free. If it cannot be removed, for want of descriptors or because a file system hangs, the
    /// next release tries again.
    async fn put_away(&self, job: &ChildrenOfJob) {
        job.end().await;
        let path = self.directory().join(job.id.to_string());
        let mut all = std::mem::take(&mut *lock(&self.doomed));
        let user = job.take_user();
        let remove = move || {
            if let Some(Err(error)) = user.as_ref().map(|user| user.end_all()) {
                tracing::warn!(%error, "cannot end processes that a job has left behind");
            }
            match put_aside(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot move a job's folder aside");
                }
                Err(_) => {}
                Ok(aside) => all.push(aside),
            }
            all.retain(|doomed| match remove_tree(doomed) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %doomed.display(), %error, "cannot remove a job's folder yet; trying again later");
                    true
                }
                _ => false,
            });
            all
        };
        match tokio::task::spawn_blocking(remove).await {
            Ok(left) => lock(&self.doomed).extend(left),
            Err(error) => {
                tracing::error!(%error, "a bug in the engine: removing a folder panicked");
            }
        }
    }

    /// Ends processes that have left the group of a job's process that is gone. May block for a
    /// moment.
    fn end_orphans(&self) {
        let Some(orphans) = &self.settings.orphans else { return };
        // The worker chose their environment, and they keep it unless they went out of their way to
        // change it.
        let temporary = [b"TMPDIR=", self.directory().as_os_str().as_encoded_bytes()].concat();
        let is_in = |environment: &[u8]| {
            environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(&temporary))
        };
        orphans.end_those_of_jobs(is_in);
    }

    /// Divides the memory among so many more processes, or fewer.
    fn count_living(&self, change: i64) {
        let mut living = lock(&self.living);
        *living = living.saturating_add_signed(change);
        let share_bytes = self.settings.memory_bytes / (*living).max(1);
        self.share_bytes.send_replace(self.settings.limits.budget_within(share_bytes));
    }
}

/// Ends a process that was started for one attempt which no longer wants it.
async fn end_unused(starting: Starting) {
    if let Ok(Ok(child)) = starting.await {
        child.end().await;
    }
}
