//! The `Jobs` service: requests of submitters.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use windrow_jobs::{JobId, JobIdentity, JobName, JobOptions, JobSpec, StageId};
use windrow_proto::v1;
use windrow_proto::v1::jobs_server::Jobs;
use windrow_scheduler::SubmissionId;
use windrow_security::access::Subject;
use windrow_security::{Identity, Role};

use super::accept::{Asked, Planner, drawn};
use super::convert::{
    job_status, listed_status, name_from, ranges_from, shape_from, spec_from, submission_from,
    worker_status,
};
use super::driver_turns::{DriverTurns, identity_of, name_of};
use super::in_progress::InProgress;
use super::list::Page;
use super::logs::send;
use super::refusal::{
    check_build, check_cluster, check_platform, check_same_job, stands_still, unknown,
};
use super::watch::watch_job;
use crate::driver::{DriverHandle, JobSnapshot};
use crate::logs::LogStore;
use crate::plan::ClusterSize;

/// Most jobs in one answer of the driver.
const SHOWN_MAX: usize = 64;

/// Serves submitters.
pub(crate) struct JobsService {
    pub(crate) driver: DriverHandle,
    pub(crate) build: v1::Build,
    /// The cluster to plan for while no worker has joined.
    pub(crate) assumed_cluster: ClusterSize,
    /// The output that jobs have printed.
    pub(crate) logs: Arc<LogStore>,
    /// Submissions that have arrived and are not accepted yet.
    pub(crate) in_planning: InProgress<SubmissionId>,
    /// Plans submissions.
    pub(crate) planner: Planner,
    /// Bounds the requests to the driver.
    pub(crate) turns: DriverTurns,
}

#[tonic::async_trait]
impl Jobs for JobsService {
    type WatchStream = ReceiverStream<Result<v1::JobStatus, Status>>;
    type LogsStream = ReceiverStream<Result<v1::ProcessLog, Status>>;

    async fn in_charge(
        &self,
        request: Request<v1::InChargeRequest>,
    ) -> Result<Response<v1::InChargeReply>, Status> {
        let asks = name_of(&request);
        if self.turns.ask(asks.as_deref(), self.driver.stands_still()).await? {
            return Err(stands_still());
        }
        let cluster = self.turns.ask(asks.as_deref(), self.driver.cluster()).await?.to_string();
        Ok(Response::new(v1::InChargeReply { cluster }))
    }

    async fn plan(
        &self,
        request: Request<v1::PlanRequest>,
    ) -> Result<Response<v1::PlanReply>, Status> {
        let submitter = name_of(&request);
        let of = submitter.as_deref();
        let request = request.into_inner();
        check_build("submitter", request.build.as_ref(), &self.build)?;
        let (spec, shape) = (spec_from(request.spec)?, shape_from(request.shape)?);
        let id = submission_from(of, &request.submission, &request.key)?;
        // The submission was accepted before: its output exists, or will, so planning it again
        // would fail.
        if let Some(id) = id
            && let Some(accepted) = self.accepted_before(of, (id, &request.key), &spec).await?
        {
            let accepted = Some(accepted);
            return Ok(Response::new(v1::PlanReply { accepted, ..Default::default() }));
        }
        let cluster = self.cluster_size(of).await?;
        let reply = self.planner.look_at((of, id), spec, shape, cluster).await?;
        Ok(Response::new(reply))
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitReply>, Status> {
        let identity = identity_of(&request);
        let submitter = name_of(&request);
        let of = submitter.as_deref();
        let request = request.into_inner();
        check_build("submitter", request.build.as_ref(), &self.build)?;
        let program_version = request.build.map(|build| build.version).unwrap_or_default();
        check_cluster(&request.cluster, self.turns.ask(of, self.driver.cluster()).await?)?;
        let (spec, shape) = (spec_from(request.spec)?, shape_from(request.shape)?);
        let ranges = request.ranges.map(ranges_from).transpose()?;
        check_priority(identity.as_ref().map(Identity::role), spec.options.priority)?;
        let is_admin = identity.is_some_and(|identity| identity.role() == Role::Admin);
        let id = submission_from(of, &request.submission, &request.key)?;
        let id = id.map_or_else(|| drawn().map(SubmissionId), Ok)?;
        // A retry waits until the first request has ended, and gets the same answer.
        let planning = self.in_planning.begin(id).await;
        if let Some(accepted) = self.accepted_before(of, (id, &request.key), &spec).await? {
            return Ok(Response::new(accepted));
        }
        let platforms = self.turns.ask(of, self.driver.platforms()).await?;
        check_platform(&spec.program.needs, &platforms)?;
        let cluster = self.cluster_size(of).await?;
        let caller_gone = CancellationToken::new();
        let _here = caller_gone.clone().drop_guard();
        let submitter = submitter.clone();
        let asked =
            Asked { id, spec, program_version, submitter, is_admin, shape, ranges, cluster };
        // In a task of its own, which survives the caller's disconnect: planning must give back
        // what it has taken.
        let planner = self.planner.clone();
        let accepting = async move {
            let _planning = planning;
            planner.accept(asked, caller_gone).await
        };
        let accepted = tokio::spawn(accepting).await;
        let job = accepted.map_err(|error| Status::internal(error.to_string()))??;
        let accepted = self.accepted(of, job).await?;
        let identity = JobIdentity::from_bytes(&accepted.identity);
        Ok(about(Response::new(accepted), format!("job {job}, {}", shown(identity))))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let asks = name_of(&request);
        let (name, job) = self.find(asks.as_deref(), request.into_inner().job).await?;
        let changes = self.turns.ask(asks.as_deref(), self.driver.watch(job)).await?;
        let changes = changes.ok_or_else(|| unknown(name))?;
        let (sender, statuses) = mpsc::channel(1);
        tokio::spawn(watch_job(
            self.driver.clone(),
            (self.turns.clone(), asks),
            job,
            changes,
            sender,
        ));
        Ok(Response::new(ReceiverStream::new(statuses)))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListReply>, Status> {
        let asks = name_of(&request);
        let request = request.into_inner();
        let (mut before, mut page) = (request.before.map(JobId), Page::of(request));
        loop {
            let asking = self.driver.jobs_before(before, SHOWN_MAX);
            let jobs = self.turns.ask(asks.as_deref(), asking).await?;
            before = jobs.last().map(|job| job.view.job);
            let is_full = jobs.iter().any(|job| !page.add(listed_status(job)));
            if is_full || before.is_none() {
                return Ok(Response::new(page.reply()));
            }
        }
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::JobStatus>, Status> {
        let asks = name_of(&request);
        let (_, job) = self.find(asks.as_deref(), request.into_inner().job).await?;
        Ok(Response::new(self.status(asks.as_deref(), job).await?))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelReply>, Status> {
        let (identity, asks) = (identity_of(&request), name_of(&request));
        let asks = asks.as_deref();
        let (name, job) = self.find(asks, request.into_inner().job).await?;
        self.refuse_stranger(identity, job).await?;
        let changes = self.turns.ask(asks, self.driver.watch(job)).await?;
        let mut changes = changes.ok_or_else(|| unknown(name))?;
        let driver = self.driver.clone();
        let cancelling = async move { driver.cancel(job).await };
        let too_late = !self.turns.command(asks, cancelling).await??;
        // The sender is dropped only when the job is over and forgotten.
        let _ = changes.wait_for(|over| *over).await;
        let status = Some(self.status(asks, job).await?);
        Ok(about(Response::new(v1::CancelReply { status, too_late }), format!("job {job}")))
    }

    async fn workers(
        &self,
        request: Request<v1::WorkersRequest>,
    ) -> Result<Response<v1::WorkersReply>, Status> {
        let asks = name_of(&request);
        let workers = self.turns.ask(asks.as_deref(), self.driver.workers()).await?;
        let workers = workers.iter().map(worker_status).collect();
        Ok(Response::new(v1::WorkersReply { workers }))
    }

    async fn logs(
        &self,
        request: Request<v1::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let (identity, asks) = (identity_of(&request), name_of(&request));
        let v1::LogsRequest { job, task } = request.into_inner();
        let (_, job) = self.find(asks.as_deref(), job).await?;
        self.refuse_stranger(identity, job).await?;
        if let Some(task) = &task {
            self.refuse_unknown_task(asks.as_deref(), job, task).await?;
        }
        let logs = Arc::clone(&self.logs);
        let (sender, found) = mpsc::channel(1);
        tokio::spawn(send(logs, job, task, sender));
        Ok(about(Response::new(ReceiverStream::new(found)), format!("job {job}")))
    }
}

impl JobsService {
    async fn cluster_size(&self, asks: Option<&str>) -> Result<ClusterSize, Status> {
        let joined = self.turns.ask(asks, self.driver.cluster_size()).await?;
        Ok(if joined.workers == 0 { self.assumed_cluster } else { joined })
    }

    /// Refuses a submitter who wants to stop another submitter's job or to read its logs.
    async fn refuse_stranger(&self, asks: Option<Identity>, job: JobId) -> Result<(), Status> {
        let Some(asks) = asks.filter(|asks| asks.role() == Role::Submitter) else { return Ok(()) };
        let snapshot = self.job(Some(asks.name()), job).await?;
        match snapshot.submitter.as_deref() {
            Some(submitter) if submitter == asks.name() => Ok(()),
            submitter => Err(Status::permission_denied(format!(
                "{job} was submitted by {}; only they or an admin can do this",
                submitter.unwrap_or("somebody else")
            ))),
        }
    }

    /// Refuses a task that the job does not have: it will never print anything.
    async fn refuse_unknown_task(
        &self,
        asks: Option<&str>,
        job: JobId,
        task: &v1::LogsOfTask,
    ) -> Result<(), Status> {
        let snapshot = self.job(asks, job).await?;
        let (maps, reduces) = (snapshot.view.map.tasks, snapshot.view.reduce.tasks);
        let stage = StageId::from_number(task.stage)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let tasks = [maps, reduces][stage.index()];
        if task.task < tasks {
            return Ok(());
        }
        Err(Status::not_found(format!(
            "{job} has no task {stage}-{}: its map tasks are {}, its reduce tasks {}",
            task.task,
            numbers("map", maps),
            numbers("reduce", reduces)
        )))
    }

    /// The job with this identity or number.
    async fn find(
        &self,
        asks: Option<&str>,
        name: Option<v1::JobName>,
    ) -> Result<(JobName, JobId), Status> {
        let name = name_from(name)?;
        let job = self.turns.ask(asks, self.driver.number_of(name)).await?;
        Ok((name, job.ok_or_else(|| unknown(name))?))
    }

    async fn job(&self, asks: Option<&str>, job: JobId) -> Result<Arc<JobSnapshot>, Status> {
        let snapshot = self.turns.ask(asks, self.driver.job(job)).await?;
        snapshot.ok_or_else(|| unknown(JobName::Number(job)))
    }

    async fn accepted(&self, asks: Option<&str>, job: JobId) -> Result<v1::SubmitReply, Status> {
        let identity = self.turns.ask(asks, self.driver.identity_of(job)).await?;
        let identity = identity.ok_or_else(|| unknown(JobName::Number(job)))?;
        Ok(v1::SubmitReply {
            job: job.0,
            identity: identity.to_bytes().to_vec().into(),
            cluster: self.turns.ask(asks, self.driver.cluster()).await?.to_string(),
            before: false,
        })
    }

    /// The job that was accepted under this submission before. Refuses a key that was used for
    /// another job.
    async fn accepted_before(
        &self,
        asks: Option<&str>,
        (id, key): (SubmissionId, &str),
        spec: &JobSpec,
    ) -> Result<Option<v1::SubmitReply>, Status> {
        let driver = self.driver.clone();
        let telling = async move { driver.resubmit(id).await };
        let Some(job) = self.turns.command(asks, telling).await?? else { return Ok(None) };
        if !key.is_empty()
            && let Some(accepted) = self.turns.ask(asks, self.driver.job(job)).await?
        {
            check_same_job(key, job, &accepted.spec, spec)?;
        }
        Ok(Some(v1::SubmitReply { before: true, ..self.accepted(asks, job).await? }))
    }

    async fn status(&self, asks: Option<&str>, job: JobId) -> Result<v1::JobStatus, Status> {
        Ok(job_status(&*self.job(asks, job).await?))
    }
}

/// The names of the tasks of a stage.
fn numbers(stage: &str, tasks: u32) -> String {
    match tasks {
        0 => "none".to_string(),
        1 => format!("{stage}-0"),
        _ => format!("{stage}-0 to {stage}-{}", tasks - 1),
    }
}

/// Submitters may lower the priority of their jobs. Raising it takes an admin, or a cluster that
/// does not tell callers apart.
fn check_priority(role: Option<Role>, priority: i32) -> Result<(), Status> {
    let default = JobOptions::default().priority;
    match role {
        Some(Role::Submitter) if priority > default => Err(Status::permission_denied(format!(
            "only an admin may give a job a priority above {default}, and {priority} was asked for; leave --priority out, or \
             have an admin submit the job"
        ))),
        _ => Ok(()),
    }
}

/// Adds the subject of an answer for the audit log.
fn about<T>(mut answer: Response<T>, subject: String) -> Response<T> {
    answer.extensions_mut().insert(Subject(subject));
    answer
}

fn shown(identity: Option<JobIdentity>) -> String {
    identity.map_or_else(String::new, |identity| identity.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_admin_may_outrank_others_where_callers_are_known() {
        assert!(check_priority(Some(Role::Submitter), 0).is_ok());
        assert!(check_priority(Some(Role::Submitter), i32::MIN).is_ok());
        assert!(check_priority(Some(Role::Admin), i32::MAX).is_ok());
        assert!(check_priority(None, 1).is_ok(), "an open cluster does not tell callers apart");
        let refused = check_priority(Some(Role::Submitter), 1).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        assert!(refused.message().contains("--priority"), "{}", refused.message());
    }
}
