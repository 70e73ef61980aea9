//! The handle by which all other code speaks to the driver.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use windrow_jobs::{JobId, JobIdentity, JobName, Platform, WorkerId};
use windrow_scheduler::SubmissionId;
use windrow_scheduler::journal::JournalError;

use super::command::{Command, Question};
use super::snapshot::{JobSnapshot, OutputOwner, WorkerSnapshot};
use super::{
    Driver, JoinError, Joined, Report, Returning, SessionEnd, SessionId, Submission, WorkerProfile,
};
use crate::blobs::Held;
use crate::claims::{Claim, ClaimError};
use crate::journal::{ClusterId, JournalGone};
use crate::output::{Owner, Reservation};
use crate::plan::ClusterSize;
use crate::submitter::Load;

/// The driver has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping")]
pub(crate) struct Stopped;

/// Why a submission has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsubmitted {
    /// The driver has not received the submission.
    Refused(Stopped),
    /// The driver has stopped meanwhile. The journal may contain the job, now or later: then a
    /// successor continues it.
    Unanswered(Stopped),
}

/// Why a driver cannot continue. Its process should end, so that a supervisor restarts it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The journal cannot be continued.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The task that writes the journal has ended.
    #[error(transparent)]
    JournalGone(#[from] JournalGone),
    /// The driver has panicked.
    #[error(
        "the coordinator's driver has panicked, which is a bug ({0}); start the coordinator again to continue from its journal"
    )]
    Panicked(String),
}

/// A message to a driver's shell.
pub(super) struct ToDriver {
    pub(super) command: Command,
    /// The output folder of a submission.
    pub(super) reservation: Option<Arc<Reservation>>,
}

/// Sends commands to a driver. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DriverHandle {
    commands: mpsc::Sender<ToDriver>,
    questions: mpsc::Sender<Question>,
    owner: Option<Owner>,
    failure: watch::Receiver<Option<DriverError>>,
}

impl DriverHandle {
    pub(super) fn new(
        commands: mpsc::Sender<ToDriver>,
        questions: mpsc::Sender<Question>,
        owner: Option<Owner>,
        failure: watch::Receiver<Option<DriverError>>,
    ) -> Self {
        Self { commands, questions, owner, failure }
    }

    /// The owner of the jobs' output folders; `None` if they end with this process.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Waits until the driver fails, which may be for ever.
    pub(crate) async fn failure(&self) -> DriverError {
        let mut failure = self.failure.clone();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        match failed {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Schedules a planned job.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<JobId, Unsubmitted> {
        let (reply, answer) = oneshot::channel();
        let Submission { id, work, plan, reservation } = submission;
        let command = Command::Submit { id, work: (work, plan), reply };
        let told = self.commands.send(ToDriver { command, reservation: Some(reservation) }).await;
        told.map_err(|_| Unsubmitted::Refused(Stopped))?;
        answer.await.map_err(|_| Unsubmitted::Unanswered(Stopped))
    }

    /// The job that was accepted under this submission, if any.
    pub(crate) async fn resubmit(
        &self,
        submission: SubmissionId,
    ) -> Result<Option<JobId>, Stopped> {
        self.ask(|reply| Command::Resubmit { submission, reply }).await
    }

    /// Cancels a job; returns false if it was not running.
    pub(crate) async fn cancel(&self, job: JobId) -> Result<bool, Stopped> {
        self.ask(|reply| Command::Cancel { job, reply }).await
    }

    /// Opens or resumes a worker's session.
    pub(crate) async fn join(
        &self,
        profile: WorkerProfile,
        returning: Option<Returning>,
    ) -> Result<Result<Joined, JoinError>, Stopped> {
        let profile = Box::new(profile);
        self.ask(|reply| Command::Join { profile, returning, reply }).await
    }

    /// Passes a worker's report on.
    pub(crate) async fn report(
        &self,
        worker: WorkerId,
        session: SessionId,
        report: Report,
    ) -> Result<(), Stopped> {
        self.tell(Command::Report { worker, session, report }).await
    }

    /// Reports the end of a session.
    pub(crate) async fn session_ended(
        &self,
        worker: WorkerId,
        session: SessionId,
        end: SessionEnd,
    ) -> Result<(), Stopped> {
        self.tell(Command::SessionEnded { worker, session, end }).await
    }

    /// Leaves all jobs to a successor if the journal outlives this process; otherwise cancels them
    /// and waits until nothing partial is left. Ends all sessions.
    pub(crate) async fn stop(&self) -> Result<(), Stopped> {
        let (reply, stopped) = oneshot::channel();
        self.question(Question::Stop { reply }).await?;
        stopped.await.map_err(|_| Stopped)
    }

    /// Whether the driver decides nothing because its journal does not answer. If there is a
    /// successor, it knows more about the jobs.
    pub(crate) async fn stands_still(&self) -> Result<bool, Stopped> {
        self.inspect(|driver| driver.stands_still()).await
    }

    pub(crate) async fn job(&self, job: JobId) -> Result<Option<Arc<JobSnapshot>>, Stopped> {
        self.inspect(move |driver| driver.job_snapshot(job).map(Arc::new)).await
    }

    /// The id of the cluster: job numbers mean something only in their cluster.
    pub(crate) async fn cluster(&self) -> Result<ClusterId, Stopped> {
        self.inspect(|driver| driver.catalog().cluster).await
    }

    /// The number of the job of this name, if it is known.
    pub(crate) async fn number_of(&self, name: JobName) -> Result<Option<JobId>, Stopped> {
        self.inspect(move |driver| driver.number_of(name)).await
    }

    /// The identity of a known job.
    pub(crate) async fn identity_of(&self, job: JobId) -> Result<Option<JobIdentity>, Stopped> {
        self.inspect(move |driver| driver.identity_of(job)).await
    }

    /// The job that owns an output folder, if any: by the folder's name, or by the jobs
    /// [found](crate::output::jobs_in) in it.
    pub(crate) async fn owner_of(
        &self,
        output: PathBuf,
        found: Vec<JobIdentity>,
    ) -> Result<Option<OutputOwner>, Stopped> {
        self.inspect(move |driver| driver.owner_of(&output, &found)).await
    }

    /// Refuses a claim that conflicts with a job that is not over.
    pub(crate) async fn check_claim(
        &self,
        claim: Claim,
    ) -> Result<Result<(), ClaimError>, Stopped> {
        self.inspect(move |driver| driver.check_claim(&claim)).await
    }

    /// Whether the job is known.
    pub(crate) async fn knows(&self, job: JobId) -> Result<bool, Stopped> {
        self.inspect(move |driver| driver.catalog().job(job).is_some()).await
    }

    /// The latest jobs before a number, the latest first. Bounded, because the driver does nothing
    /// else meanwhile.
    pub(crate) async fn jobs_before(
        &self,
        before: Option<JobId>,
        most: usize,
    ) -> Result<Vec<JobSnapshot>, Stopped> {
        self.inspect(move |driver| driver.latest_jobs(before, most)).await
    }

    /// All workers.
    pub(crate) async fn workers(&self) -> Result<Vec<WorkerSnapshot>, Stopped> {
        self.inspect(Driver::worker_snapshots).await
    }

    /// Whether the worker with a certificate of this name runs attempts of a job or holds its
    /// outputs; `None` if the worker has no session.
    pub(crate) async fn works_for(&self, name: &str, job: JobId) -> Result<Option<bool>, Stopped> {
        let name = name.to_string();
        self.inspect(move |driver| driver.works_for(&name, job)).await
    }

    /// Changes whenever the job may have changed; true from its end on.
    pub(crate) async fn watch(&self, job: JobId) -> Result<Option<watch::Receiver<bool>>, Stopped> {
        self.inspect(move |driver| driver.watch(job)).await
    }

    /// The size of the cluster; no workers and no threads while none has joined.
    pub(crate) async fn cluster_size(&self) -> Result<ClusterSize, Stopped> {
        self.inspect(Driver::cluster_size).await
    }

    /// The present workers, by name, with their platforms.
    pub(crate) async fn platforms(&self) -> Result<Vec<(String, Platform)>, Stopped> {
        self.inspect(|driver| driver.catalog().platforms()).await
    }

    /// Programs and side files of jobs that are not over.
    pub(crate) async fn blobs_in_use(&self) -> Result<Vec<Held>, Stopped> {
        self.inspect(|driver| driver.catalog().blobs_in_use()).await
    }

    /// The load of a submitter's jobs that are not over.
    pub(crate) async fn load_of(&self, submitter: String) -> Result<Load, Stopped> {
        self.inspect(move |driver| driver.catalog().load_of(&submitter)).await
    }

    async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let inspect = move |driver: &Driver| {
            // Fails only if the caller has disconnected.
            let _ = reply.send(look(driver));
        };
        self.question(Question::Inspect(Box::new(inspect))).await?;
        answer.await.map_err(|_| Stopped)
    }

    async fn question(&self, question: Question) -> Result<(), Stopped> {
        self.questions.send(question).await.map_err(|_| Stopped)
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
        let told = self.commands.send(ToDriver { command, reservation: None }).await;
        told.map_err(|_| Stopped)
    }
}
