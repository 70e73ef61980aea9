//! Orders: from the coordinator to a worker, and from a worker to the process of a job.

use std::sync::Arc;

use windrow_jobs::partitioning::SplitPoints;
use windrow_jobs::{
    AttemptId, BadRecord, BadRecordBudget, InputRange, JobId, JobIdentity, Share, Version,
};
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;

use super::failure::poison_from;
use super::outputs::{ToldOutputs, outputs_from};
use super::{Malformed, attempt_from, compression_from, program};
use crate::model::JobContext;

/// An order or an announcement of the coordinator.
#[derive(Debug)]
pub(crate) enum Order {
    /// The settings that all tasks of a job share; its split points come separately.
    Context(JobId, Box<JobContext>),
    /// The split points of a job.
    SplitPoints(JobId, SplitPoints),
    /// Where a job's map outputs lie.
    Outputs(ToldOutputs),
    /// A piece of another order.
    Fragment(v1::Fragment),
    /// Run a map attempt.
    Map(MapOrder),
    /// Run a reduce attempt on outputs that were announced before.
    Reduce(ReduceOrder),
    /// Stop an attempt.
    Cancel(AttemptId),
    /// A report was noted for good; the output of a loser is not wanted.
    Noted { attempt: AttemptId, won: bool },
    /// A heartbeat was received.
    Renewed { sequence: u64 },
    /// End the processes of a job, and delete its files; to be answered with the ticket, if there
    /// is one.
    Release { job: JobId, ticket: Option<u64> },
    /// The worker may leave.
    Drained,
    /// Of an unknown kind: the sender is newer.
    Unknown,
}

/// The part of a map request that differs from task to task.
#[derive(Debug)]
pub(crate) struct MapOrder {
    pub attempt: AttemptId,
    pub input: u32,
    pub ranges: Vec<InputRange>,
    pub alone: bool,
    pub skip: Vec<BadRecord>,
}

/// The part of a reduce request that differs from task to task.
#[derive(Debug)]
pub(crate) struct ReduceOrder {
    pub attempt: AttemptId,
    pub outputs_version: u64,
    pub alone: bool,
    pub skip: Vec<BadRecord>,
}

/// The first message of a session.
pub(crate) fn welcome_from(
    first: Option<v1::CoordinatorMessage>,
) -> Result<v1::Welcome, Malformed> {
    match first.and_then(|first| first.message) {
        Some(FromCoordinator::Welcome(welcome)) => Ok(welcome),
        _ => Err(Malformed("no welcome")),
    }
}

/// Any later message.
pub(crate) fn order_from(message: v1::CoordinatorMessage) -> Result<Order, Malformed> {
    let Some(message) = message.message else { return Ok(Order::Unknown) };
    Ok(match message {
        FromCoordinator::Welcome(_) => return Err(Malformed("a second welcome")),
        FromCoordinator::JobContext(context) => {
            Order::Context(JobId(context.id), Box::new(context_from(context)?))
        }
        FromCoordinator::SplitPoints(v1::JobSplitPoints { job, points }) => {
            let points = points.into_iter().map(|point| (point.key.into(), point.value.into()));
            Order::SplitPoints(JobId(job), SplitPoints::new(points))
        }
        FromCoordinator::MapOutputs(told) => Order::Outputs(outputs_from(told)?),
        FromCoordinator::Fragment(fragment) => Order::Fragment(fragment),
        FromCoordinator::AssignMap(assign) => Order::Map(MapOrder {
            attempt: attempt_from(assign.attempt)?,
            input: assign.input,
            ranges: assign.ranges.into_iter().map(range_from).collect::<Result<_, _>>()?,
            alone: assign.alone,
            skip: assign.skip.into_iter().map(poison_from).collect(),
        }),
        FromCoordinator::AssignReduce(assign) => Order::Reduce(ReduceOrder {
            attempt: attempt_from(assign.attempt)?,
            outputs_version: assign.outputs_version,
            alone: assign.alone,
            skip: assign.skip.into_iter().map(poison_from).collect(),
        }),
        FromCoordinator::CancelAttempt(cancel) => Order::Cancel(attempt_from(cancel.attempt)?),
        FromCoordinator::ReleaseJob(v1::ReleaseJob { job, ticket }) => {
            Order::Release { job: JobId(job), ticket: (ticket != 0).then_some(ticket) }
        }
        FromCoordinator::Drained(v1::Drained {}) => Order::Drained,
        FromCoordinator::Noted(v1::Noted { attempt, won }) => {
            Order::Noted { attempt: attempt_from(attempt)?, won }
        }
        FromCoordinator::HeartbeatAck(v1::HeartbeatAck { sequence }) => Order::Renewed { sequence },
    })
}

fn context_from(context: v1::JobContext) -> Result<JobContext, Malformed> {
    let compression = compression_from(context.compression());
    let skip_bad_records = context.skip_bad_records.map(budget_from).transpose()?;
    let identity = JobIdentity::from_bytes(&context.identity);
    let staging = context.staging.parse();
    Ok(JobContext {
        identity: identity.ok_or(Malformed("a job without an identity"))?,
        job: context.job,
        params: context.params,
        lossy: context.lossy,
        record_bytes_max: context.record_bytes_max,
        compression,
        skip_bad_records,
        threads: context.threads,
        memory_bytes: context.memory_bytes,
        fan_in: context.fan_in,
        partitions: context.partitions,
        staging: staging.map_err(|_| Malformed("the staging location is none"))?,
        split_points: Arc::default(),
        program: program::program_from(context.program.unwrap_or_default())?,
        files: program::files_from(context.files)?,
        writable: context.writable.into_iter().map(Into::into).collect(),
    })
}

fn budget_from(budget: v1::BadRecordBudget) -> Result<BadRecordBudget, Malformed> {
    use v1::bad_record_budget::Budget;
    match budget.budget.ok_or(Malformed("no budget"))? {
        Budget::Records(most) => Ok(BadRecordBudget::Records(most)),
        Budget::Share(share) => {
            let share = Share::new(share).map_err(|_| Malformed("no share of records"))?;
            Ok(BadRecordBudget::Share(share))
        }
    }
}

fn range_from(range: v1::InputRange) -> Result<InputRange, Malformed> {
    use v1::input_range::Version as Told;
    let v1::InputRange { location, start, end, file_bytes: bytes, file_number, version } = range;
    let version = match version {
        Some(Told::Etag(etag)) => Version::Object { bytes, etag: etag.into() },
        Some(Told::ModifiedUnixNs(modified_unix_ns)) => Version::Local { bytes, modified_unix_ns },
        None => Version::Local { bytes, modified_unix_ns: 0 },
    };
    let location = location.parse().map_err(|_| Malformed("an input without a location"))?;
    Ok(InputRange { location, file_number, range: start..end, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(message: FromCoordinator) -> Result<Order, Malformed> {
        order_from(v1::CoordinatorMessage { message: Some(message) })
    }

    #[test]
    fn malformed_messages_are_refused() {
        assert!(order(FromCoordinator::Welcome(v1::Welcome::default())).is_err());
        assert!(order(FromCoordinator::AssignMap(v1::AssignMap::default())).is_err());
        assert!(order(FromCoordinator::AssignReduce(v1::AssignReduce::default())).is_err());
        assert!(order(FromCoordinator::CancelAttempt(v1::CancelAttempt::default())).is_err());
        assert!(welcome_from(None).is_err());
        let drained = Some(FromCoordinator::Drained(v1::Drained {}));
        assert!(welcome_from(Some(v1::CoordinatorMessage { message: drained })).is_err());
    }

    #[test]
    fn an_order_of_an_unknown_kind_is_accepted() {
        // Field 77 of a later protocol.
        let bytes = &[0xea, 4, 1, 7][..];
        let newer = <v1::CoordinatorMessage as prost::Message>::decode(bytes).unwrap();
        assert!(matches!(order_from(newer), Ok(Order::Unknown)));
    }
}
