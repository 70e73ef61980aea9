//! How everybody else speaks to the driver.

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

/// The driver takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping")]
pub(crate) struct Stopped;

/// Why a submission has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsubmitted {
    /// The driver has not seen it.
    Refused(Stopped),
    /// The driver has stopped since. The journal may have the job, or will: then a successor goes
    /// on with it.
    Unanswered(Stopped),
}

/// Why a driver cannot go on. Whoever runs it should end the process, so that a supervisor starts
/// it again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// Its journal cannot be gone on with.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The task that writes the journal has ended.
    #[error(transparent)]
    JournalGone(#[from] JournalGone),
    /// It has panicked.
    #[error(
        "the coordinator's driver has ended by a bug ({0}); what its journal holds goes on when it is started again"
    )]
    Panicked(String),
}

/// What comes to a driver's shell.
pub(super) struct ToDriver {
    pub(super) command: Command,
    /// The output folder that comes with it.
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

    /// Who owns the output folders of its jobs; nobody if they end with this process.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Waits until the driver cannot go on, for ever if that does not happen.
    pub(crate) async fn failure(&self) -> DriverError {
        let mut failure = self.failure.clone();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        match failed {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Has a planned job scheduled.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<JobId, Unsubmitted> {
        let (reply, answer) = oneshot::channel();
        let Submission { id, work, plan, reservation } = submission;
        let command = Command::Submit { id, work: (work, plan), reply };
        let told = self.commands.send(ToDriver { command, reservation: Some(reservation) }).await;
        told.map_err(|_| Unsubmitted::Refused(Stopped))?;
        answer.await.map_err(|_| Unsubmitted::Unanswered(Stopped))
    }

    /// The job that this submission has led to, if any.
    pub(crate) async fn resubmit(
        &self,
        submission: SubmissionId,
    ) -> Result<Option<JobId>, Stopped> {
        self.ask(|reply| Command::Resubmit { submission, reply }).await
    }

    /// Stops a job; false if it was not running.
    pub(crate) async fn cancel(&self, job: JobId) -> Result<bool, Stopped> {
        self.ask(|reply| Command::Cancel { job, reply }).await
    }

    /// Opens a worker's session, or the one that it had before.
    pub(crate) async fn join(
        &self,
        profile: WorkerProfile,
        returning: Option<Returning>,
    ) -> Result<Result<Joined, JoinError>, Stopped> {
        let profile = Box::new(profile);
        self.ask(|reply| Command::Join { profile, returning, reply }).await
    }

    /// Passes on what a worker says.
    pub(crate) async fn report(
        &self,
        worker: WorkerId,
        session: SessionId,
        report: Report,
    ) -> Result<(), Stopped> {
        self.tell(Command::Report { worker, session, report }).await
    }

    /// Says that a session has ended.
    pub(crate) async fn session_ended(
        &self,
        worker: WorkerId,
        session: SessionId,
        end: SessionEnd,
    ) -> Result<(), Stopped> {
        self.tell(Command::SessionEnded { worker, session, end }).await
    }

    /// Leaves all jobs to a successor, if the journal outlives this process; else cancels them, and
    /// waits until nothing partial is left of them. Ends all sessions.
    pub(crate) async fn stop(&self) -> Result<(), Stopped> {
        let (reply, stopped) = oneshot::channel();
        self.question(Question::Stop { reply }).await?;
        stopped.await.map_err(|_| Stopped)
    }

    /// Whether it decides nothing, since its journal does not answer. Whoever waits for a job finds
    /// out more elsewhere then, if there is a successor.
    pub(crate) async fn stands_still(&self) -> Result<bool, Stopped> {
        self.inspect(|driver| driver.stands_still()).await
    }

    /// One job, if it is known.
    pub(crate) async fn job(&self, job: JobId) -> Result<Option<Arc<JobSnapshot>>, Stopped> {
        self.inspect(move |driver| driver.job_snapshot(job).map(Arc::new)).await
    }

    /// Whose jobs it knows: numbers of jobs mean something only in this cluster.
    pub(crate) async fn cluster(&self) -> Result<ClusterId, Stopped> {
        self.inspect(|driver| driver.catalog().cluster).await
    }

    /// The number of the job that somebody means, if it is known.
    pub(crate) async fn number_of(&self, name: JobName) -> Result<Option<JobId>, Stopped> {
        self.inspect(move |driver| driver.number_of(name)).await
    }

    /// The name for ever of a job that is known.
    pub(crate) async fn identity_of(&self, job: JobId) -> Result<Option<JobIdentity>, Stopped> {
        self.inspect(move |driver| driver.identity_of(job)).await
    }

    /// The job to which an output folder belongs, if any: by its name, or by what was
    /// [found](crate::output::jobs_in) in it.
    pub(crate) async fn owner_of(
        &self,
        output: PathBuf,
        found: Vec<JobIdentity>,
    ) -> Result<Option<OutputOwner>, Stopped> {
        self.inspect(move |driver| driver.owner_of(&output, &found)).await
    }

    /// Refuses a claim that a job which is not over stands against.
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

    /// The latest jobs before a number, the latest first. Not all at once: meanwhile, the driver
    /// does nothing else.
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

    /// Whether the worker that has shown a certificate of this name runs attempts of a job or holds
    /// outputs of it; `None` if it has no session.
    pub(crate) async fn works_for(&self, name: &str, job: JobId) -> Result<Option<bool>, Stopped> {
        let name = name.to_string();
        self.inspect(move |driver| driver.works_for(&name, job)).await
    }

    /// Changes whenever the job may have changed; true from its end on.
    pub(crate) async fn watch(&self, job: JobId) -> Result<Option<watch::Receiver<bool>>, Stopped> {
        self.inspect(move |driver| driver.watch(job)).await
    }

    /// What there is to run jobs on; no workers and no threads while none has joined.
    pub(crate) async fn cluster_size(&self) -> Result<ClusterSize, Stopped> {
        self.inspect(Driver::cluster_size).await
    }

    /// The workers that are there, by name, and what programs they can run.
    pub(crate) async fn platforms(&self) -> Result<Vec<(String, Platform)>, Stopped> {
        self.inspect(|driver| driver.catalog().platforms()).await
    }

    /// Programs and side files of jobs that are not over.
    pub(crate) async fn blobs_in_use(&self) -> Result<Vec<Held>, Stopped> {
        self.inspect(|driver| driver.catalog().blobs_in_use()).await
    }

    /// What a submitter has that is not over.
    pub(crate) async fn load_of(&self, submitter: String) -> Result<Load, Stopped> {
        self.inspect(move |driver| driver.catalog().load_of(&submitter)).await
    }

    async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let inspect = move |driver: &Driver| {
            // Who asked may be gone; then nobody is interested.
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
