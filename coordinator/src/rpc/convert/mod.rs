//! Conversion between messages and domain values. Input from outside may be anything: it is
//! converted or refused, and never panics.

mod failure;
mod program;
mod report;
mod session;
mod shape;
mod spec;
mod status;

pub(super) use program::{blob_from, digest_from};
pub(super) use report::report_from;
pub(super) use session::{
    Sent, order_to, packed, profile_from, receipt_to, returning_from, welcome_to,
};
pub(super) use shape::{piece_to, ranges_from, shape_from};
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use spec::spec_to;
pub(super) use spec::{spec_from, submission_from};
pub(super) use status::{job_status, listed_status, worker_status};

use tonic::Status;
use windrow_jobs::{AttemptId, JobId, JobIdentity, JobName, StageId, TaskId};
use windrow_proto::{runs, v1};

/// An invalid message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub(super) struct Malformed(String);

impl Malformed {
    fn missing(field: &str) -> Self {
        Self(format!("{field} is missing"))
    }
}

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(windrow_jobs::one_line(&malformed.to_string()))
    }
}

/// The identity or number of a job.
pub(super) fn name_from(name: Option<v1::JobName>) -> Result<JobName, Malformed> {
    use v1::job_name::Name;
    match name.and_then(|name| name.name).ok_or_else(|| Malformed::missing("job"))? {
        Name::Number(number) => Ok(JobName::Number(JobId(number))),
        Name::Identity(bytes) => JobIdentity::from_bytes(&bytes)
            .map(JobName::Identity)
            .ok_or_else(|| Malformed("a job's identity has 16 bytes".to_string())),
    }
}

fn attempt_from(attempt: Option<v1::AttemptId>) -> Result<AttemptId, Malformed> {
    let attempt = attempt.ok_or_else(|| Malformed::missing("attempt"))?;
    let stage =
        StageId::from_number(attempt.stage).map_err(|error| Malformed(error.to_string()))?;
    let task = TaskId { job: JobId(attempt.job), stage, index: attempt.task };
    Ok(AttemptId { task, number: attempt.attempt })
}

fn attempts_from(packed: &[v1::Attempts]) -> Result<Vec<AttemptId>, Malformed> {
    let attempts = runs::unpacked(packed)
        .ok_or_else(|| Malformed("runs of attempts that are not valid".to_string()))?;
    attempts.into_iter().map(|attempt| attempt_from(Some(attempt))).collect()
}

fn attempt_to(attempt: AttemptId) -> v1::AttemptId {
    let AttemptId { task: TaskId { job, stage, index }, number } = attempt;
    v1::AttemptId { job: job.0, stage: stage.to_number(), task: index, attempt: number }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
