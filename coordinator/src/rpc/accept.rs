//! From a submission to an accepted job.
//!
//! ```text
//!  nobody else's output?      the driver knows
//!          v
//!  inputs are listed and cut  in its turn, may take long
//!          v
//!  still nobody else's?       the driver knows
//!          v
//!  no output is in reach      the driver knows, and the file system, if the code of the job, or of
//!          v                  another one, may write elsewhere
//!  the folder is taken  -->   the driver has the job
//! ```
//!
//! A folder's content does not tell whose it is, and the file server may be away for a moment. The
//! driver knows which jobs have a folder or wait to have it again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use windrow_jobs::program::JobShape;
use windrow_jobs::{JobId, JobIdentity, JobSpec, Location};
use windrow_proto::v1;
use windrow_scheduler::SubmissionId;

use super::convert::piece_to;
use super::driver_turns::DriverTurns;
use super::pending_submissions::{PendingSubmission, PendingSubmissions};
use super::plannings::Plannings;
use super::refusal::{check_files, files_of};
use crate::blobs::{BlobStore, Pin};
use crate::claims::{Claim, ComingClaim, ComingClaims};
use crate::driver::{DriverHandle, JobWork, OutputOwner, Stopped, Submission, Unsubmitted};
use crate::journal::draw;
use crate::output::{self, OutputError, Owner, Reservation};
use crate::plan::{
    self, AllowedPaths, ClusterSize, KEPT_FOR, KeptListings, Listing, NotAllowed, Plan, Ranges,
};
use crate::submitter::Submitter;

/// Plans jobs and hands them to the driver. Cheap to clone; clones share their state.
#[derive(Clone)]
pub(crate) struct Planner {
    driver: DriverHandle,
    /// Bounds the questions to the driver.
    turns: DriverTurns,
    /// Stores programs and side files.
    blobs: Arc<BlobStore>,
    /// Listings for announced submissions that have not come yet, with the files that they will
    /// need.
    listings: Arc<KeptListings<Pin>>,
    /// Bounds concurrent plannings.
    plannings: Plannings,
    /// Bounds the jobs of one submitter.
    pending: PendingSubmissions,
    /// Claims of submissions on their way to the driver.
    claims: ComingClaims,
    /// Where inputs and outputs may lie.
    allowed_paths: AllowedPaths,
    /// Fires when the coordinator stops: stopping must not wait for a file server.
    stopping: CancellationToken,
}

/// A requested job.
pub(super) struct Asked {
    pub(super) id: SubmissionId,
    pub(super) spec: JobSpec,
    /// The submitter's.
    pub(super) program_version: String,
    /// The name in the submitter's certificate, if there is one.
    pub(super) submitter: Option<String>,
    /// Admins may have any number of jobs.
    pub(super) is_admin: bool,
    pub(super) shape: JobShape,
    pub(super) ranges: Option<Ranges>,
    pub(super) cluster: ClusterSize,
}

/// A requested job, cut into tasks.
struct Planned {
    asked: Asked,
    plan: Plan,
    /// Jobs whose files are in the output folder.
    found: Vec<JobIdentity>,
    /// The output folder with links resolved: the one that was examined.
    output: PathBuf,
    /// Keeps the job's files until the driver knows the job, and so which files it needs.
    pin: Pin,
}

impl Planner {
    pub(crate) fn new(
        (driver, turns): (DriverHandle, DriverTurns),
        blobs: Arc<BlobStore>,
        allowed_paths: AllowedPaths,
        stopping: CancellationToken,
    ) -> Self {
        let (listings, plannings, pending, claims) = Default::default();
        Self { driver, turns, blobs, listings, plannings, pending, claims, allowed_paths, stopping }
    }

    /// The number of partitions that a job would have, and the pieces of its input to sample for
    /// their ranges.
    pub(super) async fn look_at(
        &self,
        (submitter, id): (Option<&str>, Option<SubmissionId>),
        spec: JobSpec,
        shape: JobShape,
        cluster: ClusterSize,
    ) -> Result<v1::PlanReply, Status> {
        let planner = self.clone();
        let pin = self.pin(&spec, submitter).await?;
        let planning = self.plannings.run(submitter, move || {
            planner.allowed_paths.check_spec(&spec)?;
            let output = planner.allowed_paths.resolve(local(&spec.output)?)?;
            output::check(&output, spec.options.overwrite)?;
            let listing = Listing::make(&spec, &shape, &planner.allowed_paths)?;
            let partitions = plan::partitions(&spec, &shape, cluster, &listing)?;
            let sample = if shape.is_ordered() && partitions > 1 {
                plan::pieces(listing.files(), partitions).into_iter().map(piece_to).collect()
            } else {
                Vec::new()
            };
            if let Some(id) = id {
                planner.listings.keep(id, spec, listing, pin);
            }
            Ok(v1::PlanReply { partitions, sample, accepted: None })
        });
        let reply = self.unless_stopped(planning).await?;
        let listings = Arc::clone(&self.listings);
        tokio::spawn(async move {
            tokio::time::sleep(KEPT_FOR).await;
            listings.forget_old();
        });
        Ok(reply)
    }

    /// Plans a job and hands it to the driver, unless its submitter has disconnected.
    pub(super) async fn accept(
        self,
        asked: Asked,
        caller_gone: CancellationToken,
    ) -> Result<JobId, Status> {
        let _pending = self.count(&asked).await?;
        let (planner, submitter) = (self.clone(), asked.submitter.clone());
        let of = submitter.as_deref();
        self.until_cleaned_up(of, &asked.spec, &caller_gone).await?;
        // Pinned before the inputs are listed: listing may outlast the time for which unused files
        // are kept.
        let pin = self.pin(&asked.spec, of).await?;
        let planning = self.plannings.run(of, move || planner.plan(asked, pin));
        let mut planned = tokio::select! {
            planned = self.unless_stopped(planning) => planned?,
            () = caller_gone.cancelled() => return Err(submitter_gone()),
        };
        let found = std::mem::take(&mut planned.found);
        if let Some(owner) = self.owner_of(of, &planned.asked.spec, found).await? {
            return Err(refused(&planned.asked.spec, owner));
        }
        let _claimed = self.claim(of, Claim::of(&planned.asked.spec, &planned.output)).await?;
        let owner = self.driver.owner().cloned();
        let taking = spawn_blocking(move || take(planned, owner)).await;
        let (submission, _pin) = taking.map_err(|error| Status::internal(error.to_string()))??;
        self.submit(of, submission, &caller_gone).await
    }

    /// Counts a submission until the driver has it, on clusters that tell submitters apart.
    async fn count(&self, asked: &Asked) -> Result<Option<PendingSubmission>, Status> {
        let Some(submitter) = asked.submitter.as_ref().filter(|_| !asked.is_admin) else {
            return Ok(None);
        };
        let coming = self.pending.count(submitter, &asked.spec);
        let load = self.driver.load_of(submitter.clone());
        coming.check(self.turns.ask(Some(submitter), load).await?)?;
        Ok(Some(coming))
    }

    /// Pins the program and the side files of a job.
    async fn pin(&self, spec: &JobSpec, submitter: Option<&str>) -> Result<Pin, Status> {
        let in_use = self.turns.ask(submitter, self.driver.blobs_in_use()).await?;
        let from = Submitter::named(submitter);
        let (blobs, files) = (Arc::clone(&self.blobs), files_of(spec));
        let pinning = spawn_blocking(move || blobs.pin(files, from, &in_use));
        Ok(pinning.await.map_err(|error| Status::internal(error.to_string()))??)
    }

    /// Refuses an output of a job that is not over. Waits for a job that has ended and is being
    /// cleaned up.
    async fn until_cleaned_up(
        &self,
        of: Option<&str>,
        spec: &JobSpec,
        caller_gone: &CancellationToken,
    ) -> Result<(), Status> {
        let Some(owner) = self.owner_of(of, spec, Vec::new()).await? else { return Ok(()) };
        if !owner.ended {
            return Err(refused(spec, owner));
        }
        if let Some(mut changes) = self.turns.ask(of, self.driver.watch(owner.job)).await? {
            tokio::select! {
                // The sender is dropped only when the job is over and forgotten.
                _ = changes.wait_for(|over| *over) => {}
                () = caller_gone.cancelled() => return Err(submitter_gone()),
            }
        }
        Ok(())
    }

    /// Claims the output and the declared paths of a job until the driver has it.
    async fn claim(&self, of: Option<&str>, claim: Claim) -> Result<ComingClaim, Status> {
        let claimed = self.claims.claim(claim.clone())?;
        self.turns.ask(of, self.driver.check_claim(claim.clone())).await??;
        if !claim.declared().is_empty() {
            // Searched last: the output of a job that has ended since is found by the files in it.
            let search = move || Ok(output::refuse_outputs_at(claim.declared())?);
            self.unless_stopped(self.plannings.run(of, search)).await?;
        }
        Ok(claimed)
    }

    async fn unless_stopped<T>(
        &self,
        planning: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            planned = planning => planned,
            () = self.stopping.cancelled() => Err(Stopped.into()),
        }
    }

    async fn owner_of(
        &self,
        of: Option<&str>,
        spec: &JobSpec,
        found: Vec<JobIdentity>,
    ) -> Result<Option<OutputOwner>, Status> {
        let output = local(&spec.output)?.to_path_buf();
        self.turns.ask(of, self.driver.owner_of(output, found)).await
    }

    /// Examines the output first, which is cheap. Writes nothing.
    fn plan(&self, mut asked: Asked, pin: Pin) -> Result<Planned, Status> {
        let spec = &asked.spec;
        self.allowed_paths.check_spec(spec)?;
        check_files(spec, &self.blobs)?;
        let output = self.allowed_paths.resolve(local(&spec.output)?)?;
        output::check(&output, spec.options.overwrite)?;
        let listing = match self.listings.take(asked.id, spec) {
            Some((listing, _pin)) => listing,
            None => Listing::make(spec, &asked.shape, &self.allowed_paths)?,
        };
        let plan = Plan::make(spec, &asked.shape, asked.ranges.take(), asked.cluster, listing)?;
        let found = output::jobs_in(&output);
        // Resolved again, and workers are told the resolved paths, which are the checked ones.
        asked.spec.writable = self.allowed_paths.real_writable(&asked.spec)?;
        Ok(Planned { asked, plan, found, output, pin })
    }

    /// Hands a job to the driver, or removes its folder.
    async fn submit(
        &self,
        of: Option<&str>,
        submission: Submission,
        caller_gone: &CancellationToken,
    ) -> Result<JobId, Status> {
        let has_successors = self.driver.owner().is_some();
        let reservation = Arc::clone(&submission.reservation);
        let (driver, caller_gone) = (self.driver.clone(), caller_gone.clone());
        let submitting = async move {
            match caller_gone.is_cancelled() {
                true => None,
                false => Some(driver.submit(submission).await),
            }
        };
        let refused = match self.turns.command(of, submitting).await {
            Ok(Some(Ok(job))) => return Ok(job),
            // The submission's fate is unknown: a successor may have taken the job over, and its
            // attempts write to the folder. Otherwise the next job in this output removes it.
            Ok(Some(Err(Unsubmitted::Unanswered(stopped)))) if has_successors => {
                return Err(stopped.into());
            }
            Ok(Some(Err(Unsubmitted::Unanswered(stopped) | Unsubmitted::Refused(stopped)))) => {
                stopped.into()
            }
            Ok(None) => submitter_gone(),
            Err(refused) => refused,
        };
        if let Err(error) = reservation.discard().await {
            tracing::warn!(%error, "cannot remove the staging folder of a refused job");
        }
        Err(refused)
    }
}

/// Takes the output folder, as the last step, so that a refusal leaves nothing behind. Blocks on
/// the file system.
fn take(planned: Planned, owner: Option<Owner>) -> Result<(Submission, Pin), Status> {
    let Planned { asked, plan, output, pin, .. } = planned;
    let Asked { id, spec, program_version, submitter, .. } = asked;
    // Drawn for this request: if the submission was accepted before, this job and its identity are
    // dropped.
    let identity = JobIdentity(drawn()?);
    let owner = owner.map(|owner| Owner { job: spec.job.clone(), ..owner });
    let overwrite = spec.options.overwrite;
    let reservation = Arc::new(Reservation::take_for(identity, &output, overwrite, owner)?);
    let paths = reservation.paths().clone();
    let (plan, submitted) = (Arc::new(plan), SystemTime::now());
    let work = JobWork { identity, spec, program_version, submitter, plan, paths, submitted };
    // Made here because the driver has no time to look at each split.
    let to_schedule = work.to_schedule();
    Ok((Submission { id, work: Arc::new(work), plan: to_schedule, reservation }, pin))
}

fn local(output: &Location) -> Result<&Path, NotAllowed> {
    Ok(output.to_local()?)
}

fn submitter_gone() -> Status {
    Status::cancelled("the submitter has disconnected")
}

fn refused(spec: &JobSpec, owner: OutputOwner) -> Status {
    OutputError::OfJob { output: spec.output.clone(), job: owner.job }.into()
}

pub(super) fn drawn() -> Result<u128, Status> {
    draw().map_err(|error| Status::internal(error.to_string()))
}
