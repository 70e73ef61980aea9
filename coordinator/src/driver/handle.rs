//! How everybody else speaks to the driver.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use windrow_jobs::{JobId, WorkerId};

use super::jobs::Submission;
use super::snapshot::{JobSnapshot, WorkerSnapshot};
use super::workers::{AlreadyThere, Joined, WorkerProfile};
use super::{Command, Driver, Report};
use crate::plan::ClusterSize;

/// The driver takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping")]
pub(crate) struct Stopped;

/// Sends commands to a driver. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DriverHandle {
    commands: mpsc::Sender<Command>,
}

impl DriverHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Has a planned job scheduled.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<JobId, Stopped> {
        let submission = Box::new(submission);
        self.ask(|reply| Command::Submit { submission, reply }).await
    }

    /// Stops a job; false if it was not running.
    pub(crate) async fn cancel(&self, job: JobId) -> Result<bool, Stopped> {
        self.ask(|reply| Command::Cancel { job, reply }).await
    }

    /// Opens a worker's session.
    pub(crate) async fn join(
        &self,
        profile: WorkerProfile,
    ) -> Result<Result<Joined, AlreadyThere>, Stopped> {
        self.ask(|reply| Command::Join { profile, reply }).await
    }

    /// Passes on what a worker says.
    pub(crate) async fn report(&self, worker: WorkerId, report: Report) -> Result<(), Stopped> {
        self.tell(Command::Report { worker, report }).await
    }

    /// Ends a worker's session.
    pub(crate) async fn left(&self, worker: WorkerId, reason: String) -> Result<(), Stopped> {
        self.tell(Command::Left { worker, reason }).await
    }

    /// Cancels all jobs, waits until nothing partial is left of them, and ends all sessions.
    pub(crate) async fn stop(&self) -> Result<(), Stopped> {
        self.ask(|reply| Command::Stop { reply }).await
    }

    /// One job, if it is known.
    pub(crate) async fn job(&self, job: JobId) -> Result<Option<Arc<JobSnapshot>>, Stopped> {
        self.inspect(move |driver| driver.job_snapshot(job).map(Arc::new)).await
    }

    /// All known jobs, oldest first.
    pub(crate) async fn jobs(&self) -> Result<Vec<JobSnapshot>, Stopped> {
        self.inspect(Driver::job_snapshots).await
    }

    /// All workers.
    pub(crate) async fn workers(&self) -> Result<Vec<WorkerSnapshot>, Stopped> {
        self.inspect(Driver::worker_snapshots).await
    }

    /// Changes whenever the job may have changed; true from its end on.
    pub(crate) async fn watch(&self, job: JobId) -> Result<Option<watch::Receiver<bool>>, Stopped> {
        self.inspect(move |driver| driver.jobs.watch(job)).await
    }

    /// What there is to run jobs on; no workers and no threads while none has joined.
    pub(crate) async fn cluster_size(&self) -> Result<ClusterSize, Stopped> {
        self.inspect(|driver| driver.workers.cluster_size()).await
    }

    async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.ask(|reply| {
            Command::Inspect(Box::new(move |driver| {
                // Who asked may be gone; then nobody is interested.
                let _ = reply.send(look(driver));
            }))
        })
        .await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }

    async fn tell(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }
}
