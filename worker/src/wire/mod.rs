//! Conversions between messages and the values of [`model`](crate::model), for the session with
//! the coordinator, and between a worker and the processes of its jobs. A message is converted or
//! refused; nothing here panics. Knows no connection.

use windrow_jobs::{AttemptId, Compression, Isolation, JobId, StageId, TaskId};
use windrow_proto::v1;

mod announced_job;
mod failure;
mod identity;
mod order;
mod outputs;
mod program;
mod report;
mod request;

pub(crate) use announced_job::{AnnouncedJob, Reader};
pub(crate) use failure::{place_from, place_to};
pub(crate) use identity::{credentials_from, credentials_to, identity_from, identity_to};
pub(crate) use order::{MapOrder, Order, ReduceOrder, order_from, welcome_from};
pub(crate) use outputs::{Holder, ToldOutputs, outputs_to};
pub(crate) use report::{
    Inventory, heartbeat_to, outputs_lost_to, progress_from, progress_to, released_to, report_from,
    result_to, return_to,
};
pub(crate) use request::{cancel_to, context_to, run_to, split_points_to};

/// A malformed message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message came: {0}")]
pub(crate) struct Malformed(pub(super) &'static str);

pub(crate) fn attempt_from(attempt: Option<v1::AttemptId>) -> Result<AttemptId, Malformed> {
    let attempt = attempt.ok_or(Malformed("no attempt"))?;
    let stage = StageId::from_number(attempt.stage).map_err(|_| Malformed("no such stage"))?;
    let task = TaskId { job: JobId(attempt.job), stage, index: attempt.task };
    Ok(AttemptId { task, number: attempt.attempt })
}

/// Decodes a job's choice.
pub(crate) fn compression_from(compression: v1::Compression) -> Option<Compression> {
    match compression {
        v1::Compression::Unspecified => None,
        v1::Compression::None => Some(Compression::None),
        v1::Compression::Lz4 => Some(Compression::Lz4),
        v1::Compression::Zstd => Some(Compression::Zstd),
    }
}

/// Encodes the level of isolation.
pub(crate) fn isolation_to(isolation: Isolation) -> v1::Isolation {
    match isolation {
        Isolation::None => v1::Isolation::None,
        Isolation::Files => v1::Isolation::Files,
        Isolation::Process => v1::Isolation::Process,
        Isolation::User => v1::Isolation::User,
    }
}

/// Encodes a job's choice.
pub(crate) fn compression_to(compression: Option<Compression>) -> v1::Compression {
    match compression {
        None => v1::Compression::Unspecified,
        Some(Compression::None) => v1::Compression::None,
        Some(Compression::Lz4) => v1::Compression::Lz4,
        Some(Compression::Zstd) => v1::Compression::Zstd,
    }
}

pub(crate) fn attempt_to(attempt: AttemptId) -> v1::AttemptId {
    let AttemptId { task: TaskId { job, stage, index }, number } = attempt;
    v1::AttemptId { job: job.0, stage: stage.to_number(), task: index, attempt: number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_survive_the_round_trip() {
        for stage in StageId::ALL {
            let task = TaskId { job: JobId(7), stage, index: 8 };
            let attempt = AttemptId { task, number: 9 };
            assert_eq!(attempt_from(Some(attempt_to(attempt))), Ok(attempt));
        }
    }

    /// An absent number is read as 0.
    #[test]
    fn attempts_of_no_stage_are_refused() {
        assert!(attempt_from(None).is_err());
        for stage in [0, 3, (1 << 16) + 1] {
            let attempt = v1::AttemptId { job: 1, stage, task: 1, attempt: 1 };
            assert!(attempt_from(Some(attempt)).is_err(), "{stage}");
        }
    }
}
