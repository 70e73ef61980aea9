//! Refusals: what the caller gets to read, and under which code.
//!
//! `InvalidArgument` says that the request is wrong as it stands; `NotFound` and `FailedPrecondition` that the world
//! is not as it needs it; `AlreadyExists` that somebody else has the place.

use tonic::Status;
use windrow_proto::PROTOCOL_VERSION;
use windrow_proto::v1::Build;

use crate::driver::{JoinError, Stopped};
use crate::explain::one_line;
use crate::output::OutputError;
use crate::plan::{NotAllowed, PlanError};

/// Refuses a peer of another protocol, version or build, by name of both.
pub(super) fn check_build(who: &str, theirs: Option<&Build>, ours: &Build) -> Result<(), Status> {
    let Some(theirs) = theirs else {
        return Err(Status::invalid_argument(format!("the {who} does not say which build it is")));
    };
    let differs = if theirs.protocol_version != PROTOCOL_VERSION {
        "they must speak the same protocol"
    } else if theirs.version != ours.version {
        "they must be of the same version"
    } else if theirs.digest != ours.digest {
        "they must run the same executable"
    } else {
        return Ok(());
    };
    let text = format!(
        "the {who} is {}, the coordinator is {}; {differs}",
        build_name(theirs),
        build_name(ours)
    );
    Err(Status::failed_precondition(one_line(&text)))
}

/// A build as people tell it from others.
pub(crate) fn build_name(build: &Build) -> String {
    let Build { version, digest, protocol_version } = build;
    format!("windrow {version} (build {digest:.12}, protocol {protocol_version})")
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
            // It will find the other one.
            JoinError::Replaced { .. } => Self::unavailable(text),
        }
    }
}

impl From<PlanError> for Status {
    fn from(error: PlanError) -> Self {
        let text = one_line(&error.to_string());
        match error {
            PlanError::NoMatch { .. } => Self::not_found(text),
            PlanError::Unreadable { .. } => Self::failed_precondition(text),
            PlanError::Inputs(_)
            | PlanError::BadPattern { .. }
            | PlanError::NotAFile { .. }
            | PlanError::NotUtf8 { .. }
            | PlanError::InsideOutput { .. }
            | PlanError::TooManyTasks { .. }
            | PlanError::NoReduceStage => Self::invalid_argument(text),
        }
    }
}

impl From<NotAllowed> for Status {
    fn from(error: NotAllowed) -> Self {
        Self::permission_denied(one_line(&error.to_string()))
    }
}

impl From<OutputError> for Status {
    fn from(error: OutputError) -> Self {
        Self::failed_precondition(one_line(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(protocol_version: u32, version: &str, digest: &str) -> Build {
        Build { protocol_version, version: version.into(), digest: digest.into() }
    }

    #[test]
    fn another_build_is_refused_by_name_of_both() {
        let ours = build(PROTOCOL_VERSION, "0.1.0", "0123456789abcdef");
        assert!(check_build("worker", Some(&ours.clone()), &ours).is_ok());
        for (theirs, expected) in [
            (build(PROTOCOL_VERSION + 1, "0.1.0", "0123456789abcdef"), "the same protocol"),
            (build(PROTOCOL_VERSION, "0.2.0", "0123456789abcdef"), "the same version"),
            (build(PROTOCOL_VERSION, "0.1.0", "fedcba9876543210"), "the same executable"),
        ] {
            let status = check_build("worker", Some(&theirs), &ours).unwrap_err();
            assert_eq!(status.code(), tonic::Code::FailedPrecondition);
            assert!(status.message().contains(&build_name(&theirs)), "{}", status.message());
            assert!(status.message().contains(&build_name(&ours)), "{}", status.message());
            assert!(status.message().contains(expected), "{}", status.message());
        }
    }
}
