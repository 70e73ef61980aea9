//! The `Jobs` service: what submitters ask.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use windrow_jobs::program::JobShape;
use windrow_jobs::{JobId, JobOptions, JobSpec};
use windrow_proto::v1;
use windrow_proto::v1::jobs_server::Jobs;
use windrow_scheduler::SubmissionId;
use windrow_security::access::Caller;
use windrow_security::{Identity, Role};

use super::convert::{
    job_status, piece_to, ranges_from, shape_from, spec_from, submission_from, worker_status,
};
use super::in_progress::{InProgress, InProgressGuard};
use super::logs::send;
use super::plannings::Plannings;
use super::refusal::{check_build, check_files, check_platform, files_of, stands_still};
use super::watch::watch_job;
use crate::blobs::{BlobStore, Pin};
use crate::driver::{DriverHandle, JobWork, Submission, Unsubmitted};
use crate::journal::draw;
use crate::logs::LogStore;
use crate::output::{self, Owner, Reservation};
use crate::plan::{self, AllowedPaths, ClusterSize, KEPT_FOR, KeptListings, Listing, Plan, Ranges};

/// Answers submitters.
pub(crate) struct JobsService {
    pub(crate) driver: DriverHandle,
    pub(crate) build: v1::Build,
    /// What to plan for while no worker has joined.
    pub(crate) assumed_cluster: ClusterSize,
    /// Where programs and side files are.
    pub(crate) blobs: Arc<BlobStore>,
    /// What jobs have printed.
    pub(crate) logs: Arc<LogStore>,
    /// Submissions that have come and are not accepted yet.
    pub(crate) in_planning: InProgress<SubmissionId>,
    /// What was listed for submissions that have not come yet, and the files that they will need.
    pub(crate) listings: Arc<KeptListings<Pin>>,
    /// Bounds what is planned at once.
    pub(crate) plannings: Plannings,
    /// Where inputs and outputs may lie.
    pub(crate) allowed_paths: AllowedPaths,
}

#[tonic::async_trait]
impl Jobs for JobsService {
    type WatchStream = ReceiverStream<Result<v1::JobStatus, Status>>;
    type LogsStream = ReceiverStream<Result<v1::ProcessLog, Status>>;

    async fn plan(
        &self,
        request: Request<v1::PlanRequest>,
    ) -> Result<Response<v1::PlanReply>, Status> {
        let request = request.into_inner();
        check_build("submitter", request.build.as_ref(), &self.build)?;
        let (spec, shape) = (spec_from(request.spec)?, shape_from(request.shape)?);
        let id = submission_from(&request.submission)?;
        let cluster = self.cluster_size().await?;
        let (listings, allowed_paths) = (Arc::clone(&self.listings), self.allowed_paths.clone());
        let pin = self.blobs.pin(files_of(&spec));
        let planning = self.plannings.run(move || {
            allowed_paths.check_spec(&spec)?;
            output::check(&spec.output, spec.options.overwrite)?;
            let listing = Listing::make(&spec, &shape, &allowed_paths)?;
            let partitions = plan::partitions(&spec, &shape, cluster, &listing)?;
            let sample = if shape.is_ordered() && partitions > 1 {
                plan::pieces(listing.files(), partitions).into_iter().map(piece_to).collect()
            } else {
                Vec::new()
            };
            if let Some(id) = id {
                listings.keep(id, spec, listing, pin);
            }
            Ok(v1::PlanReply { partitions, sample })
        });
        let reply = planning.await?;
        let listings = Arc::clone(&self.listings);
        tokio::spawn(async move {
            tokio::time::sleep(KEPT_FOR).await;
            listings.forget_old();
        });
        Ok(Response::new(reply))
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitReply>, Status> {
        let submitter = identity_of(&request);
        let request = request.into_inner();
        check_build("submitter", request.build.as_ref(), &self.build)?;
        let program_version = request.build.map(|build| build.version).unwrap_or_default();
        let (spec, shape) = (spec_from(request.spec)?, shape_from(request.shape)?);
        let ranges = request.ranges.map(ranges_from).transpose()?;
        check_priority(submitter.as_ref().map(Identity::role), spec.options.priority)?;
        let submitter = submitter.map(|identity| identity.name().to_string());
        let id = submission_from(&request.submission)?.map_or_else(draw_submission, Ok)?;
        // Told again, it waits for its first telling to come to an end, and is answered like that.
        let planning = self.in_planning.begin(id).await;
        if let Some(job) = self.driver.resubmit(id).await? {
            return Ok(Response::new(v1::SubmitReply { job: job.0 }));
        }
        check_platform(&spec.program.needs, &self.driver.platforms().await?)?;
        let cluster = self.cluster_size().await?;
        let caller_gone = CancellationToken::new();
        let _here = caller_gone.clone().drop_guard();
        let (blobs, allowed_paths) = (Arc::clone(&self.blobs), self.allowed_paths.clone());
        let (listings, plannings) = (Arc::clone(&self.listings), self.plannings.clone());
        let request = ToPlan {
            id,
            spec,
            program_version,
            submitter,
            shape,
            ranges,
            cluster,
            blobs,
            listings,
            plannings,
            allowed_paths,
        };
        // In a task of its own, which goes on when the caller goes: what planning has taken must be given back.
        let accepted =
            tokio::spawn(accept(self.driver.clone(), request, planning, caller_gone)).await;
        let job = accepted.map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(v1::SubmitReply { job: job.0 }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let job = JobId(request.into_inner().job);
        let changes = self.driver.watch(job).await?.ok_or_else(|| unknown(job))?;
        let (sender, statuses) = mpsc::channel(1);
        tokio::spawn(watch_job(self.driver.clone(), job, changes, sender));
        Ok(Response::new(ReceiverStream::new(statuses)))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListReply>, Status> {
        let jobs = self.driver.jobs().await?;
        Ok(Response::new(v1::ListReply { jobs: jobs.iter().map(job_status).collect() }))
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::JobStatus>, Status> {
        let job = JobId(request.into_inner().job);
        // No job has this number: it is asked by those who look for a coordinator that is in charge.
        if job == JobId(0) && self.driver.stands_still().await? {
            return Err(stands_still());
        }
        self.status(job).await
    }

    /// Answers when the job is over. One that was over before stays as it is.
    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::JobStatus>, Status> {
        let asks = identity_of(&request);
        let job = JobId(request.into_inner().job);
        self.refuse_stranger(asks, job).await?;
        let mut changes = self.driver.watch(job).await?.ok_or_else(|| unknown(job))?;
        self.driver.cancel(job).await?;
        // The sender goes only with a job that is over and forgotten.
        let _ = changes.wait_for(|over| *over).await;
        self.status(job).await
    }

    async fn workers(
        &self,
        _: Request<v1::WorkersRequest>,
    ) -> Result<Response<v1::WorkersReply>, Status> {
        let workers = self.driver.workers().await?;
        let workers = workers.iter().map(worker_status).collect();
        Ok(Response::new(v1::WorkersReply { workers }))
    }

    async fn logs(
        &self,
        request: Request<v1::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let asks = identity_of(&request);
        let v1::LogsRequest { job, task } = request.into_inner();
        let job = JobId(job);
        if !self.driver.knows(job).await? {
            return Err(unknown(job));
        }
        self.refuse_stranger(asks, job).await?;
        let logs = Arc::clone(&self.logs);
        let (sender, found) = mpsc::channel(1);
        tokio::spawn(send(logs, job, task, sender));
        Ok(Response::new(ReceiverStream::new(found)))
    }
}

impl JobsService {
    async fn cluster_size(&self) -> Result<ClusterSize, Status> {
        let joined = self.driver.cluster_size().await?;
        Ok(if joined.workers == 0 { self.assumed_cluster } else { joined })
    }

    /// Refuses a submitter who wants to stop the job of another one, or to read what it has printed.
    async fn refuse_stranger(&self, asks: Option<Identity>, job: JobId) -> Result<(), Status> {
        let Some(asks) = asks.filter(|asks| asks.role() == Role::Submitter) else { return Ok(()) };
        let snapshot = self.driver.job(job).await?.ok_or_else(|| unknown(job))?;
        match snapshot.submitter.as_deref() {
            Some(submitter) if submitter == asks.name() => Ok(()),
            submitter => Err(Status::permission_denied(format!(
                "{job} was submitted by {}; only they or an admin can do this",
                submitter.unwrap_or("somebody else")
            ))),
        }
    }

    async fn status(&self, job: JobId) -> Result<Response<v1::JobStatus>, Status> {
        let snapshot = self.driver.job(job).await?.ok_or_else(|| unknown(job))?;
        Ok(Response::new(job_status(&snapshot)))
    }
}

/// A job that is to be planned.
struct ToPlan {
    id: SubmissionId,
    spec: JobSpec,
    /// The submitter's.
    program_version: String,
    /// The name in their certificate, if they have one.
    submitter: Option<String>,
    shape: JobShape,
    ranges: Option<Ranges>,
    cluster: ClusterSize,
    blobs: Arc<BlobStore>,
    listings: Arc<KeptListings<Pin>>,
    plannings: Plannings,
    allowed_paths: AllowedPaths,
}

/// Plans a job and hands it to the driver, unless its submitter has gone meanwhile.
async fn accept(
    driver: DriverHandle,
    request: ToPlan,
    _planning: InProgressGuard<SubmissionId>,
    caller_gone: CancellationToken,
) -> Result<JobId, Status> {
    let owner = driver.owner().cloned();
    let has_successors = owner.is_some();
    let plannings = request.plannings.clone();
    // Pinned until the driver knows of the job, and so of what it needs.
    let (submission, _pin) = plannings.run(move || prepare(request, owner)).await?;
    let reservation = Arc::clone(&submission.reservation);
    let refused = if caller_gone.is_cancelled() {
        Status::cancelled("the submitter has gone")
    } else {
        match driver.submit(submission).await {
            Ok(job) => return Ok(job),
            // A successor may have taken the job over, and its attempts write to the folder. If not, whoever takes the output
            // next removes it.
            Err(Unsubmitted::Unanswered(stopped)) if has_successors => return Err(stopped.into()),
            Err(Unsubmitted::Unanswered(stopped) | Unsubmitted::Refused(stopped)) => stopped.into(),
        }
    };
    if let Err(error) = reservation.discard().await {
        tracing::warn!(%error, "cannot remove the staging folder of a refused job");
    }
    Err(refused)
}

/// All that touches the file system before a job is accepted. The output comes first, since that is cheap to see, and
/// is taken last, so that a refusal leaves nothing behind.
fn prepare(request: ToPlan, owner: Option<Owner>) -> Result<(Submission, Pin), Status> {
    let ToPlan {
        id,
        spec,
        program_version,
        submitter,
        shape,
        ranges,
        cluster,
        blobs,
        listings,
        plannings: _,
        allowed_paths,
    } = request;
    allowed_paths.check_spec(&spec)?;
    // Before the inputs are listed, which may take longer than what is not needed is kept.
    let pin = blobs.pin(files_of(&spec));
    check_files(&spec, &blobs)?;
    let overwrite = spec.options.overwrite;
    output::check(&spec.output, overwrite)?;
    let listing = match listings.take(id, &spec) {
        Some((listing, _pin)) => listing,
        None => Listing::make(&spec, &shape, &allowed_paths)?,
    };
    let plan = Plan::make(&spec, &shape, ranges, cluster, listing)?;
    let owner = owner.map(|owner| Owner { job: spec.job.clone(), ..owner });
    let reservation = Arc::new(Reservation::take(&spec.output, overwrite, owner)?);
    let place = reservation.place().clone();
    let (plan, submitted) = (Arc::new(plan), SystemTime::now());
    let work = JobWork { spec, program_version, submitter, plan, place, submitted };
    // Made here and not by the driver, which has no time to look at each split.
    let to_schedule = work.plan.to_schedule(&work.spec);
    Ok((Submission { id, work: Arc::new(work), plan: to_schedule, reservation }, pin))
}

/// Who is in the caller's certificate.
fn identity_of<T>(request: &Request<T>) -> Option<Identity> {
    request.extensions().get::<Caller>().and_then(Caller::identity).cloned()
}

/// Who submits may step back behind others. To step before them is for an admin to grant; where nobody is told apart, for all.
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

fn draw_submission() -> Result<SubmissionId, Status> {
    draw().map(SubmissionId).map_err(|error| Status::internal(error.to_string()))
}

fn unknown(job: JobId) -> Status {
    Status::not_found(format!("there is no {job}; see 'windrow jobs'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_admin_may_outrank_others_where_callers_are_known() {
        assert!(check_priority(Some(Role::Submitter), 0).is_ok());
        assert!(check_priority(Some(Role::Submitter), i32::MIN).is_ok());
        assert!(check_priority(Some(Role::Admin), i32::MAX).is_ok());
        assert!(check_priority(None, 1).is_ok(), "an open cluster tells nobody apart");
        let refused = check_priority(Some(Role::Submitter), 1).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        assert!(refused.message().contains("--priority"), "{}", refused.message());
    }
}
