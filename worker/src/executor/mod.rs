//! Where user code runs: in this process, or in a process for each job.
//!
//! The session hands over attempts as plain data ([`RunRequest`]) and gets plain data back
//! ([`Finished`], or a [`FailureCause`]). It does not know in which process they run.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{AttemptId, Digest, FailureCause, JobId, JobIdentity, TaskId};
use windrow_security::SecurityError;

mod children;
mod config;
mod directory;
mod in_process;
mod isolation;
mod job;
mod pool;

pub use children::{CHILD_ARGUMENT, ChildCommand, JobLimits, JobUsers};
pub(crate) use children::{
    ChildSettings, Children, Executables, LostOutputs, PrintedLogs, Users, is_noexec, surroundings,
};
pub use config::{ExecutorConfig, ExecutorError};
pub(crate) use directory::{
    JOBS as JOBS_FOLDER, LOCK_FILE as WORKER_LOCK_FILE, WorkerDirectory, jobs_folder,
    ready_jobs_folder,
};
pub use in_process::InProcess;
pub use isolation::Confinement;
pub(crate) use isolation::Isolated;

use crate::identity::Identity;
use crate::model::{Finished, JobContext, Progress, RunRequest};
use crate::shuffle::transport::ShuffleServer;

/// Runs the attempts of a worker.
pub(crate) enum Executor {
    /// On threads of this process.
    InProcess(Arc<InProcess>, ShuffleServer, Linked),
    /// Each job in a process of its own.
    Children(Arc<Children>),
}

/// Decides which jobs can run in this process: those that are linked into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linked {
    /// Digest of this executable; if it is unknown, all jobs are taken to be linked in.
    pub(crate) own_digest: Option<Digest>,
    /// Whether this process can read the side files of jobs: in embedded mode, which has only one
    /// machine.
    pub(crate) has_side_files: bool,
}

impl Linked {
    fn check(&self, context: &JobContext) -> Result<(), FailureCause> {
        let program = context.program.executable.digest;
        let what = if self.own_digest.is_some_and(|own| own != program) {
            "runs only the jobs that are linked into it, and this job belongs to another program"
        } else if !self.has_side_files && !context.files.is_empty() {
            "has no side files for jobs"
        } else {
            return Ok(());
        };
        let message = format!("a worker that was started with --in-process {what}");
        Err(FailureCause::Unsupported { message })
    }
}

impl Executor {
    /// Runs jobs in this process. Must be called on a runtime.
    pub(crate) fn in_process(executor: InProcess, linked: Linked) -> Self {
        let server = ShuffleServer::start(executor.shuffle_service(), executor.tls().clone());
        Self::InProcess(Arc::new(executor), server, linked)
    }

    /// This worker's identity: peers that fetch outputs must mean this worker, and it must have a
    /// lease.
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::InProcess(executor, ..) => executor.identity(),
            Self::Children(children) => children.identity(),
        }
    }

    /// Runs an attempt to its end. When `cancel` fires it ends with [`FailureCause::Cancelled`]
    /// within a few seconds, whatever the user's code is doing. An attempt that does not succeed
    /// leaves no file.
    pub(crate) async fn run(
        &self,
        request: RunRequest,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<Finished, FailureCause> {
        match self {
            Self::InProcess(executor, _, linked) => {
                linked.check(&request.context)?;
                executor.run(request, progress, cancel).await
            }
            Self::Children(children) => children.run(request, progress, cancel).await,
        }
    }

    /// Removes the output of a map attempt.
    pub(crate) async fn discard_output(&self, attempt: AttemptId) {
        match self {
            Self::InProcess(executor, ..) => {
                let executor = Arc::clone(executor);
                removing(move || executor.discard_output(attempt)).await;
            }
            Self::Children(children) => children.discard_output(attempt).await,
        }
    }

    /// A reducer has won: its partition may be freed.
    pub(crate) async fn free_partition(&self, reduce: TaskId) {
        if let Self::InProcess(executor, ..) = self {
            let executor = Arc::clone(executor);
            removing(move || executor.free_partition(reduce)).await;
        }
    }

    /// Ends a job's attempts and removes its files. Calls `on_end` in between, when no process of
    /// the job is left. In-process attempts have no process of the job.
    pub(crate) async fn release(&self, job: JobId, on_end: impl FnOnce()) {
        match self {
            Self::InProcess(executor, ..) => {
                on_end();
                let executor = Arc::clone(executor);
                removing(move || executor.release(job)).await;
            }
            Self::Children(children) => children.release(job, on_end).await,
        }
    }

    /// Releases all jobs, as when the session is lost.
    pub(crate) async fn release_all(&self) {
        match self {
            Self::InProcess(executor, ..) => {
                let executor = Arc::clone(executor);
                removing(move || executor.release_all()).await;
            }
            Self::Children(children) => children.release_all().await,
        }
    }

    /// Whether there may be files of a job here.
    pub(crate) fn knows(&self, job: JobIdentity) -> bool {
        match self {
            // This executor answers for all jobs alike, and at once.
            Self::InProcess(..) => true,
            Self::Children(children) => children.knows(job),
        }
    }

    /// Serves a job's outputs on a connection of another worker.
    pub(crate) async fn serve(&self, job: JobIdentity, connection: TcpStream) -> io::Result<()> {
        match self {
            Self::InProcess(executor, server, _) => {
                executor.tls().check(&connection).await?;
                server.serve(job, connection);
                Ok(())
            }
            Self::Children(children) => children.serve(job, connection).await,
        }
    }
}

/// The failure of an attempt whose job has no credentials here.
fn no_credentials(job: JobId, error: &SecurityError) -> FailureCause {
    let path = format!("the credentials of {job}");
    FailureCause::Io { path, message: error.to_string(), disk_full: false }
}

/// Runs what removes files, away from the threads of async code.
async fn removing(work: impl FnOnce() + Send + 'static) {
    if tokio::task::spawn_blocking(work).await.is_err() {
        tracing::error!("a bug in the engine: removing files panicked");
    }
}
