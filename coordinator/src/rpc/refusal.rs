//! Refusals: their messages and their status codes.
//!
//! `InvalidArgument`: the request is wrong as it stands. `NotFound` and `FailedPrecondition`: the
//! state of the cluster does not allow it. `AlreadyExists`: another job owns the path or the name.

use std::io::ErrorKind;

use tonic::Status;
use windrow_jobs::{Digest, JobId, JobName, JobSpec, Platform, PlatformNeeds, one_line};
use windrow_proto::protocols;
use windrow_proto::v1::Build;

use crate::blobs::{BlobError, BlobStore};
use crate::claims::ClaimError;
use crate::driver::{JoinError, Stopped};
use crate::journal::ClusterId;
use crate::output::OutputError;
use crate::plan::{NotAllowed, PlanError};

/// The protocol to speak with a peer. Refuses a peer that has none in common with this build, and
/// names both builds.
pub(super) fn check_build(who: &str, theirs: Option<&Build>, ours: &Build) -> Result<u32, Status> {
    let Some(theirs) = theirs else {
        return Err(Status::invalid_argument(format!("the {who} does not state its build")));
    };
    protocols::common(theirs, ours).ok_or_else(|| {
        let text = format!(
            "the {who} is {}, the coordinator is {}; they have no protocol in common: install versions that do",
            build_name(theirs),
            build_name(ours)
        );
        Status::failed_precondition(one_line(&text))
    })
}

/// The side files and the program of a job.
pub(super) fn files_of(spec: &JobSpec) -> Vec<Digest> {
    let files = spec.files.iter().map(|file| file.blob.digest);
    files.chain([spec.program.executable.digest]).collect()
}

/// Refuses a submission that another cluster may have accepted: it would run twice.
pub(super) fn check_cluster(theirs: &str, ours: ClusterId) -> Result<(), Status> {
    if theirs.is_empty() || theirs == ours.to_string() {
        return Ok(());
    }
    let text = format!(
        "this coordinator belongs to another cluster ({ours}) than the one that the job was submitted to ({theirs}), which may \
         have accepted it"
    );
    Err(Status::failed_precondition(one_line(&text)))
}

/// Refuses a key that was used for another job. Of very many inputs, only the first were kept.
pub(super) fn check_same_job(
    key: &str,
    job: JobId,
    accepted: &JobSpec,
    told: &JobSpec,
) -> Result<(), Status> {
    let is_same = accepted.job == told.job
        && accepted.params == told.params
        && accepted.output == told.output
        && told.inputs.starts_with(&accepted.inputs);
    if is_same {
        return Ok(());
    }
    let text = format!(
        "'{key}' is the name (--submission) under which job {} ({}, output {}) was submitted, which is a different job; use another name",
        job.0, accepted.job, accepted.output
    );
    Err(Status::already_exists(one_line(&text)))
}

/// This cluster does not know the job: it belongs to another one, or was forgotten.
pub(super) fn unknown(name: JobName) -> Status {
    Status::not_found(format!("there is no {name} in this cluster; see 'windrow jobs'"))
}

/// Refuses a job whose files are missing: they may have been evicted since they were offered.
pub(super) fn check_files(spec: &JobSpec, blobs: &BlobStore) -> Result<(), Status> {
    match files_of(spec).into_iter().find(|digest| !blobs.has(*digest)) {
        Some(digest) => Err(BlobError::Missing { digest }.into()),
        None => Ok(()),
    }
}

/// Refuses a job whose program none of the present workers can run. Workers that join later are
/// rarely different.
pub(super) fn check_platform(
    needs: &PlatformNeeds,
    workers: &[(String, Platform)],
) -> Result<(), Status> {
    let unfit =
        |(name, platform): &(String, Platform)| Some((name.clone(), needs.missing(platform)?));
    let unfit: Vec<_> = workers.iter().filter_map(unfit).collect();
    match unfit.first() {
        Some((name, missing)) if unfit.len() == workers.len() => {
            let text = format!(
                "no worker can run this program: it {missing} (worker {name}{}); build it for the \
                 workers' machines, such as with an older glibc or for a musl target",
                if unfit.len() > 1 { " and all others" } else { "" }
            );
            Err(Status::failed_precondition(one_line(&text)))
        }
        _ => Ok(()),
    }
}

/// The name of a build, for people.
pub(crate) fn build_name(build: &Build) -> String {
    let Build { version, digest, .. } = build;
    format!("windrow {version:.64} (build {digest:.12}, {})", protocols::named(build))
}

/// The refusal while the coordinator cannot know whether it is fenced.
pub(crate) fn stands_still() -> Status {
    Status::unavailable(
        "its journal does not answer, and the coordinator decides nothing until it does",
    )
}

impl From<Stopped> for Status {
    fn from(stopped: Stopped) -> Self {
        Self::unavailable(stopped.to_string())
    }
}

impl From<JoinError> for Status {
    fn from(error: JoinError) -> Self {
        let text = error.to_string();
        match error {
            JoinError::AlreadyThere { .. } | JoinError::SameIdentity { .. } => {
                Self::already_exists(text)
            }
            // The worker will find the new coordinator.
            JoinError::Replaced { .. } => Self::unavailable(text),
        }
    }
}

impl From<PlanError> for Status {
    fn from(error: PlanError) -> Self {
        let text = one_line(&error.to_string());
        match error {
            PlanError::NoMatch { .. } => Self::not_found(text),
            PlanError::Unreadable { .. } | PlanError::DanglingLink { .. } => {
                Self::failed_precondition(text)
            }
            PlanError::NotAllowed(_) => Self::permission_denied(text),
            PlanError::GivenUp => Self::cancelled(text),
            PlanError::Inputs(_)
            | PlanError::BadPattern { .. }
            | PlanError::NoStore(_)
            | PlanError::NotAFile { .. }
            | PlanError::NotUtf8 { .. }
            | PlanError::InsideOutput { .. }
            | PlanError::TooManyFiles { .. }
            | PlanError::TooLarge { .. }
            | PlanError::TooManyTasks { .. }
            | PlanError::NoReduceStage
            | PlanError::NoRanges
            | PlanError::OtherRanges { .. } => Self::invalid_argument(text),
        }
    }
}

impl From<BlobError> for Status {
    fn from(error: BlobError) -> Self {
        let text = one_line(&error.to_string());
        match error {
            BlobError::TooLarge { .. } | BlobError::TooLong => Self::invalid_argument(text),
            BlobError::WrongDigest => Self::data_loss(text),
            BlobError::NoRoom { .. } | BlobError::NoShare { .. } => Self::resource_exhausted(text),
            BlobError::Io { error, .. }
                if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                Self::resource_exhausted(text)
            }
            BlobError::Io { .. } => Self::internal(text),
            BlobError::Gap { .. } | BlobError::Incomplete { .. } | BlobError::Missing { .. } => {
                Self::failed_precondition(text)
            }
        }
    }
}

impl From<NotAllowed> for Status {
    fn from(error: NotAllowed) -> Self {
        let text = one_line(&error.to_string());
        match error {
            NotAllowed::NoStore(_) => Self::invalid_argument(text),
            _ => Self::permission_denied(text),
        }
    }
}

impl From<OutputError> for Status {
    fn from(error: OutputError) -> Self {
        Self::failed_precondition(one_line(&error.to_string()))
    }
}

impl From<ClaimError> for Status {
    fn from(error: ClaimError) -> Self {
        let text = one_line(&error.to_string());
        match error {
            ClaimError::OwnOutput { .. } => Self::invalid_argument(text),
            ClaimError::OthersOutput { .. }
            | ClaimError::Output { .. }
            | ClaimError::TooMuch { .. }
            | ClaimError::Unknown { .. }
            | ClaimError::InReach { .. } => Self::failed_precondition(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use windrow_proto::PROTOCOL_VERSION;

    use super::*;

    fn build(protocol_version: u32, version: &str, digest: &str) -> Build {
        let (version, digest) = (version.into(), digest.into());
        Build { protocol_version, version, digest, protocol_min: protocol_version }
    }

    #[test]
    fn another_protocol_is_refused_and_both_builds_are_named() {
        let ours = build(PROTOCOL_VERSION, "0.1.0", "0123456789abcdef");
        assert_eq!(check_build("worker", Some(&ours.clone()), &ours).ok(), Some(PROTOCOL_VERSION));
        let newer = Build { protocol_min: 1, ..build(PROTOCOL_VERSION + 7, "0.9.0", "abc") };
        assert_eq!(check_build("worker", Some(&newer), &ours).ok(), Some(PROTOCOL_VERSION));
        let other = build(PROTOCOL_VERSION, "0.2.0", "fedcba9876543210");
        assert!(check_build("worker", Some(&other), &ours).is_ok());
        let theirs = build(PROTOCOL_VERSION + 1, "0.1.0", "0123456789abcdef");
        let status = check_build("worker", Some(&theirs), &ours).unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        for part in [&build_name(&theirs), &build_name(&ours), "no protocol in common"] {
            assert!(status.message().contains(part), "{}", status.message());
        }
    }

    #[test]
    fn a_program_that_no_worker_can_run_is_refused_and_both_are_named() {
        let platform = |arch: &str| Platform { arch: arch.into(), ..Platform::default() };
        let needs = PlatformNeeds { arch: "x86_64".into(), ..PlatformNeeds::default() };
        let arm = ("arm".to_string(), platform("aarch64"));
        let intel = ("intel".to_string(), platform("x86_64"));
        assert!(check_platform(&needs, &[]).is_ok());
        assert!(check_platform(&needs, &[arm.clone(), intel]).is_ok());
        let status = check_platform(&needs, &[arm]).unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        for part in ["x86_64", "aarch64", "worker arm"] {
            assert!(status.message().contains(part), "{}", status.message());
        }
    }
}
