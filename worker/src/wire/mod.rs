//! Between messages and the values of [`model`](crate::model): those of the session with the
//! coordinator, and those between a worker and the processes of its jobs. A message converts or is
//! refused, it never panics. Knows no connection.

use std::sync::Arc;

use windrow_jobs::program::SplitPoints;
use windrow_jobs::{
    AttemptId, Audit, BadRecord, BadRecordBudget, Compression, Death, Emitted, FailureCause,
    Isolation, JobId, JobIdentity, MemoryLimit, Place, Share, Stage, TaskId, WorkerId,
};
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::failure::Cause;
use windrow_proto::v1::worker_message::Message as FromWorker;
use windrow_proto::{runs, v1};

use crate::model::{FileRange, Finished, JobContext, Part, Progress, Stats};

mod identity;
mod known_job;
mod outputs;
mod program;
mod report;
mod request;

pub(crate) use identity::{credentials_from, credentials_to, identity_from, identity_to};
pub(crate) use known_job::{KnownJob, Reader};
pub(crate) use outputs::{Holder, ToldOutputs, outputs_to};
pub(crate) use report::{progress_from, report_from};
pub(crate) use request::{cancel_to, context_to, run_to, split_points_to};

/// A message that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message came: {0}")]
pub(crate) struct Malformed(pub(super) &'static str);

/// What the coordinator wants, or says.
#[derive(Debug)]
pub(crate) enum Order {
    /// What every task of a job needs; its split points come apart.
    Context(JobId, Box<JobContext>),
    /// Where the ranges of a job begin.
    SplitPoints(JobId, SplitPoints),
    /// Where a job's map outputs lie.
    Outputs(ToldOutputs),
    /// Part of another order.
    Piece(v1::Piece),
    /// Run a map attempt.
    Map(MapOrder),
    /// Run a reduce attempt on outputs that were named before.
    Reduce(ReduceOrder),
    /// Stop an attempt.
    Cancel(AttemptId),
    /// A report was noted for good; what a loser has left is not wanted.
    Noted { attempt: AttemptId, won: bool },
    /// A heartbeat was heard.
    Renewed { sequence: u64 },
    /// End the processes of a job, and delete what is held of it; to be answered with the ticket,
    /// if there is one.
    Release { job: JobId, ticket: Option<u64> },
    /// Leave.
    Drained,
    /// Of a kind that is not known here: whoever sends it is newer.
    Unknown,
}

/// What differs from one map attempt to the next.
#[derive(Debug)]
pub(crate) struct MapOrder {
    pub attempt: AttemptId,
    pub input: u32,
    pub ranges: Vec<FileRange>,
    pub alone: bool,
    pub skip: Vec<BadRecord>,
}

/// What differs from one reduce attempt to the next.
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
        FromCoordinator::MapOutputs(told) => Order::Outputs(outputs::outputs_from(told)?),
        FromCoordinator::Piece(piece) => Order::Piece(piece),
        FromCoordinator::AssignMap(assign) => Order::Map(MapOrder {
            attempt: attempt_from(assign.attempt)?,
            input: assign.input,
            ranges: assign.ranges.into_iter().map(range_from).collect(),
            alone: assign.alone,
            skip: assign.skip.into_iter().map(deadly_from).collect(),
        }),
        FromCoordinator::AssignReduce(assign) => Order::Reduce(ReduceOrder {
            attempt: attempt_from(assign.attempt)?,
            outputs_version: assign.outputs_version,
            alone: assign.alone,
            skip: assign.skip.into_iter().map(deadly_from).collect(),
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

pub(crate) fn attempt_from(attempt: Option<v1::AttemptId>) -> Result<AttemptId, Malformed> {
    let attempt = attempt.ok_or(Malformed("no attempt"))?;
    let stage = match attempt.stage() {
        v1::Stage::Map => Stage::Map,
        v1::Stage::Reduce => Stage::Reduce,
        v1::Stage::Unspecified => return Err(Malformed("no stage")),
    };
    let task = TaskId { job: JobId(attempt.job), stage, index: attempt.task };
    Ok(AttemptId { task, number: attempt.attempt })
}

/// A job's choice, as sent.
pub(crate) fn compression_from(compression: v1::Compression) -> Option<Compression> {
    match compression {
        v1::Compression::Unspecified => None,
        v1::Compression::None => Some(Compression::None),
        v1::Compression::Lz4 => Some(Compression::Lz4),
        v1::Compression::Zstd => Some(Compression::Zstd),
    }
}

/// How far jobs are isolated here, to be sent.
pub(crate) fn isolation_to(isolation: Isolation) -> v1::Isolation {
    match isolation {
        Isolation::None => v1::Isolation::None,
        Isolation::Files => v1::Isolation::Files,
        Isolation::Process => v1::Isolation::Process,
        Isolation::User => v1::Isolation::User,
    }
}

/// A job's choice, to be sent.
pub(crate) fn compression_to(compression: Option<Compression>) -> v1::Compression {
    match compression {
        None => v1::Compression::Unspecified,
        Some(Compression::None) => v1::Compression::None,
        Some(Compression::Lz4) => v1::Compression::Lz4,
        Some(Compression::Zstd) => v1::Compression::Zstd,
    }
}

fn context_from(context: v1::JobContext) -> Result<JobContext, Malformed> {
    let compression = compression_from(context.compression());
    let skip_bad_records = context.skip_bad_records.map(budget_from).transpose()?;
    let identity = JobIdentity::from_bytes(&context.identity);
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
        staging: context.staging.into(),
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

fn range_from(range: v1::FileRange) -> FileRange {
    let v1::FileRange { path, start, end, file_bytes, modified_unix_ns, file_number } = range;
    FileRange { path: path.into(), start, end, file_bytes, modified_unix_ns, file_number }
}

/// The same, as a message of a session.
pub(crate) fn heartbeat_to<'a>(
    running: impl Iterator<Item = (AttemptId, &'a Progress)>,
    sequence: u64,
) -> v1::WorkerMessage {
    message(FromWorker::Heartbeat(progress_to(running, sequence)))
}

/// Running attempts, and how far they have come.
pub(crate) fn progress_to<'a>(
    running: impl Iterator<Item = (AttemptId, &'a Progress)>,
    sequence: u64,
) -> v1::Heartbeat {
    let progress = running.map(|(attempt, progress)| {
        let (records, bytes) = progress.get();
        let attempt = Some(attempt_to(attempt));
        v1::AttemptProgress { attempt, records, bytes, steps: progress.steps() }
    });
    v1::Heartbeat { running: progress.collect(), sequence }
}

/// What a worker has whose call broke.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// Attempts that run.
    pub running: Vec<AttemptId>,
    /// Attempts that are over, and were not noted.
    pub unanswered: Vec<AttemptId>,
    /// Attempts whose map output is here.
    pub outputs: Vec<AttemptId>,
}

/// What a worker says that was `worker` of `cluster`, and has seen `epoch` there.
pub(crate) fn return_to(
    worker: WorkerId,
    cluster: &str,
    epoch: u64,
    inventory: Inventory,
) -> v1::Return {
    let all = |attempts: Vec<AttemptId>| runs::packed(attempts.into_iter().map(attempt_to));
    v1::Return {
        worker: worker.0,
        cluster: cluster.to_string(),
        epoch,
        running: all(inventory.running),
        unanswered: all(inventory.unanswered),
        outputs: all(inventory.outputs),
    }
}

/// How an attempt ended.
pub(crate) fn result_to(
    attempt: AttemptId,
    result: Result<Finished, FailureCause>,
) -> v1::WorkerMessage {
    let id = Some(attempt_to(attempt));
    message(match result {
        Ok(Finished { stats, part, quarantine }) => {
            let stats = Some(stats_to(stats));
            let (part, quarantine) = (part.map(part_to), quarantine.map(part_to));
            match attempt.task.stage {
                Stage::Map => {
                    FromWorker::MapDone(v1::MapDone { attempt: id, stats, part, quarantine })
                }
                Stage::Reduce => {
                    FromWorker::ReduceDone(v1::ReduceDone { attempt: id, stats, part, quarantine })
                }
            }
        }
        Err(cause) => {
            let failure = Some(failure_to(cause));
            FromWorker::AttemptFailed(v1::AttemptFailed { attempt: id, failure })
        }
    })
}

/// Map outputs that died with the process that held them.
pub(crate) fn outputs_lost_to(outputs: impl IntoIterator<Item = AttemptId>) -> v1::WorkerMessage {
    let outputs = runs::packed(outputs.into_iter().map(attempt_to));
    message(FromWorker::OutputsLost(v1::OutputsLost { outputs }))
}

/// The processes of a job that was released with this ticket have ended.
pub(crate) fn released_to(JobId(job): JobId, ticket: u64) -> v1::WorkerMessage {
    message(FromWorker::JobReleased(v1::JobReleased { job, ticket }))
}

fn message(message: FromWorker) -> v1::WorkerMessage {
    v1::WorkerMessage { message: Some(message) }
}

pub(crate) fn attempt_to(attempt: AttemptId) -> v1::AttemptId {
    let AttemptId { task: TaskId { job, stage, index }, number } = attempt;
    let stage = match stage {
        Stage::Map => v1::Stage::Map,
        Stage::Reduce => v1::Stage::Reduce,
    };
    v1::AttemptId { job: job.0, stage: stage.into(), task: index, attempt: number }
}

fn stats_to(stats: Stats) -> v1::AttemptStats {
    v1::AttemptStats {
        input_records: stats.input_records,
        input_bytes: stats.input_bytes,
        output_records: stats.output_records,
        output_bytes: stats.output_bytes,
        elapsed_ms: stats.elapsed.as_millis() as u64,
        counters: stats.counters.iter().map(|(name, n)| (name.to_string(), n)).collect(),
        audit: Some(audit_to(stats.audit)),
        emitted: stats.emitted.map(|Emitted { keys, is_partial }| v1::Emitted {
            keys: Some(audit_to(keys)),
            is_partial,
        }),
        skipped_records: stats.skipped_records,
        skipped_example: stats.skipped_example.map(failure_to),
    }
}

fn audit_to(Audit { records, digest }: Audit) -> v1::Audit {
    v1::Audit { records, digest }
}

fn part_to(part: Part) -> v1::Part {
    let Part { path, bytes, records, crc64 } = part;
    v1::Part { path: path.display().to_string(), bytes, records, crc64 }
}

/// Longest text of a failure that is sent, in bytes. User code may put whole records into its
/// messages.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What may come after a text that was cut.
const NOTE_BYTES_MAX: usize = 64;

/// `text`, cut where it is too long for a message. One that was cut before, in the process of its
/// job, stays as it is.
fn capped(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX + NOTE_BYTES_MAX {
        let bytes = text.len();
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str(&format!("... ({bytes} bytes)"));
    }
    text
}

fn failure_to(cause: FailureCause) -> v1::Failure {
    v1::Failure { cause: Some(cause_to(cause)) }
}

fn cause_to(cause: FailureCause) -> Cause {
    use v1::failure::{
        BadRecords, Cancelled, Corrupt, FetchFailed, InputChanged, Io, OutOfMemory, ProcessDied,
        Timeout, Unsupported, UserError, WorkerLost,
    };
    match cause {
        FailureCause::UserError { place, message } => {
            let message = capped(message);
            Cause::UserError(UserError { place: Some(place_to(place)), message })
        }
        FailureCause::UserPanic { place, message } => {
            let message = capped(message);
            Cause::UserPanic(UserError { place: Some(place_to(place)), message })
        }
        FailureCause::BadRecords { skipped, place, message } => {
            let last = UserError { place: Some(place_to(place)), message: capped(message) };
            Cause::BadRecords(BadRecords { skipped, last: Some(last) })
        }
        FailureCause::Timeout { after } => {
            Cause::Timeout(Timeout { after_ms: after.as_millis() as u64 })
        }
        FailureCause::FetchFailed { map_task, map_attempt, worker, message } => {
            let message = capped(message);
            Cause::FetchFailed(FetchFailed { map_task, map_attempt, worker: worker.0, message })
        }
        FailureCause::Corrupt { file, offset, message } => {
            Cause::Corrupt(Corrupt { file, offset, message: capped(message) })
        }
        FailureCause::ProcessDied { death, alone, place, output } => {
            let (death, place) = (Some(death_to(death)), Some(place_to(*place)));
            Cause::ProcessDied(ProcessDied { death, alone, place, output: capped(output) })
        }
        FailureCause::OutOfMemory { limit_bytes, limit, alone, place } => {
            let (place, limit) = (Some(place_to(place)), memory_limit_to(limit).into());
            Cause::OutOfMemory(OutOfMemory { limit_bytes, alone, place, limit })
        }
        FailureCause::InputChanged { file, message } => {
            Cause::InputChanged(InputChanged { file, message: capped(message) })
        }
        FailureCause::Io { path, message, disk_full } => {
            Cause::Io(Io { path, message: capped(message), disk_full })
        }
        FailureCause::Cancelled => Cause::Cancelled(Cancelled {}),
        FailureCause::WorkerLost { worker, reason } => {
            Cause::WorkerLost(WorkerLost { worker: worker.0, reason })
        }
        FailureCause::Unsupported { message } => {
            Cause::Unsupported(Unsupported { message: capped(message) })
        }
    }
}

fn death_to(death: Death) -> v1::failure::process_died::Death {
    use v1::failure::process_died::Death as Sent;
    match death {
        Death::Signal(number) => Sent::Signal(number),
        Death::Exit(code) => Sent::ExitCode(code),
    }
}

fn deadly_from(v1::failure::UserError { place, message }: v1::failure::UserError) -> BadRecord {
    BadRecord { place: place_from(place.unwrap_or_default()), message, record: None }
}

fn deadly_to(bad: BadRecord) -> v1::failure::UserError {
    let BadRecord { place, message, .. } = bad;
    v1::failure::UserError { place: Some(place_to(place)), message }
}

pub(crate) fn place_from(v1::Place { file, offset, key, source }: v1::Place) -> Place {
    Place { file, offset, key, source }
}

pub(crate) fn place_to(Place { file, offset, key, source }: Place) -> v1::Place {
    v1::Place { file, offset, key, source }
}

fn memory_limit_to(limit: MemoryLimit) -> v1::MemoryLimit {
    match limit {
        MemoryLimit::Process => v1::MemoryLimit::Process,
        MemoryLimit::Group => v1::MemoryLimit::Group,
        MemoryLimit::Machine => v1::MemoryLimit::Machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(message: FromCoordinator) -> Result<Order, Malformed> {
        order_from(v1::CoordinatorMessage { message: Some(message) })
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(capped("short".into()), "short");
        let long = "é".repeat(TEXT_BYTES_MAX);
        let cut = capped(format!("x{long}"));
        assert!(cut.ends_with("é... (32769 bytes)"), "{}", &cut[cut.len() - 40..]);
        assert!(cut.len() < TEXT_BYTES_MAX + 30);
        assert_eq!(capped(cut.clone()), cut);
    }

    #[test]
    fn senseless_messages_are_refused() {
        assert!(order(FromCoordinator::Welcome(v1::Welcome::default())).is_err());
        assert!(order(FromCoordinator::AssignMap(v1::AssignMap::default())).is_err());
        assert!(order(FromCoordinator::AssignReduce(v1::AssignReduce::default())).is_err());
        assert!(order(FromCoordinator::CancelAttempt(v1::CancelAttempt::default())).is_err());
        assert!(welcome_from(None).is_err());
        let drained = Some(FromCoordinator::Drained(v1::Drained {}));
        assert!(welcome_from(Some(v1::CoordinatorMessage { message: drained })).is_err());
    }

    #[test]
    fn an_order_of_an_unknown_kind_is_no_error() {
        // Field 77 of a later protocol.
        let bytes = &[0xea, 4, 1, 7][..];
        let newer = <v1::CoordinatorMessage as prost::Message>::decode(bytes).unwrap();
        assert!(matches!(order_from(newer), Ok(Order::Unknown)));
    }

    #[test]
    fn the_audit_is_reported() {
        let audit = Audit { records: 3, digest: 4 };
        let sent = stats_to(Stats { audit, ..Stats::default() }).audit;
        assert_eq!(sent, Some(v1::Audit { records: 3, digest: 4 }));
    }

    #[test]
    fn attempts_survive_the_round_trip() {
        for stage in [Stage::Map, Stage::Reduce] {
            let task = TaskId { job: JobId(7), stage, index: 8 };
            let attempt = AttemptId { task, number: 9 };
            assert_eq!(attempt_from(Some(attempt_to(attempt))), Ok(attempt));
        }
    }
}
