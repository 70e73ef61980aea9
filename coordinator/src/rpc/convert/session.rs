//! What opens a session, and what the coordinator sends in it.

use std::time::Duration;

use tonic::Status;
use windrow_jobs::{BadRecord, WorkerId};
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message;
use windrow_scheduler::Inventory;
use windrow_scheduler::journal::Epoch;

use super::failure::place_to;
use super::program::{files_to, platform_from, program_to};
use super::spec::{budget_to, compression_to};
use super::{Malformed, attempt_from, attempt_to, millis};
use crate::driver::{
    Assignment, HeldOutputs, JobWork, Joined, Outgoing, OutputsTable, Returning, WorkerProfile,
};
use crate::plan::{Plan, Range};

const NAME_BYTES_MAX: usize = 256;
const SLOTS_MAX: u32 = 4_096;

/// What a worker says of itself. Its build has been checked.
pub(in crate::rpc) fn profile_from(hello: v1::Hello) -> Result<WorkerProfile, Malformed> {
    let names = [&hello.name, &hello.shuffle_address, &hello.host, &hello.instance];
    if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        return Err(Malformed("a name is too long".to_string()));
    }
    if hello.directory.is_empty() {
        return Err(Malformed::missing("directory"));
    }
    let slots = 1..=SLOTS_MAX;
    if !slots.contains(&hello.map_slots) || !slots.contains(&hello.reduce_slots) {
        return Err(Malformed(format!("a worker offers from 1 to {SLOTS_MAX} slots a stage")));
    }
    Ok(WorkerProfile {
        identity: None,
        name: hello.name,
        shuffle_address: hello.shuffle_address,
        host: hello.host,
        directory: hello.directory,
        instance: hello.instance,
        map_slots: hello.map_slots,
        reduce_slots: hello.reduce_slots,
        threads: hello.threads.clamp(1, SLOTS_MAX),
        memory_bytes: hello.memory_bytes,
        platform: platform_from(hello.platform.unwrap_or_default())?,
    })
}

/// What a worker has that comes back; `None` for one that has never been there.
pub(in crate::rpc) fn returning_from(
    returning: Option<v1::Return>,
) -> Result<Option<Returning>, Malformed> {
    let Some(returning) = returning else { return Ok(None) };
    let attempts = |attempts: Vec<v1::AttemptId>| {
        attempts.into_iter().map(|attempt| attempt_from(Some(attempt))).collect::<Result<_, _>>()
    };
    Ok(Some(Returning {
        worker: WorkerId(returning.worker),
        cluster: returning.cluster,
        epoch: Epoch(returning.epoch),
        inventory: Inventory {
            running: attempts(returning.running)?,
            unanswered: attempts(returning.unanswered)?,
            outputs: attempts(returning.outputs)?,
        },
    }))
}

/// The first message of a session.
pub(in crate::rpc) fn welcome_to(
    joined: &Joined,
    lease: Duration,
    heartbeat: Duration,
) -> v1::CoordinatorMessage {
    let welcome = v1::Welcome {
        worker: joined.worker.0,
        lease_ms: millis(lease),
        heartbeat_ms: millis(heartbeat),
        cluster: joined.cluster.to_string(),
        epoch: joined.epoch.0,
        returned: joined.returned,
    };
    v1::CoordinatorMessage { message: Some(Message::Welcome(welcome)) }
}

/// What is in the outbox, as it goes over the wire.
pub(in crate::rpc) fn message_to(outgoing: Outgoing) -> Result<v1::CoordinatorMessage, Status> {
    let message = match outgoing {
        Outgoing::Map { assignment, work } => Message::AssignMap(assign_map(assignment, &work)),
        Outgoing::Reduce { assignment, work, outputs_version } => {
            let Assignment { attempt, alone, skip } = assignment;
            Message::AssignReduce(v1::AssignReduce {
                attempt: Some(attempt_to(attempt)),
                context: Some(context_to(&work)),
                outputs_version,
                alone,
                skip: skip.into_iter().map(deadly_to).collect(),
            })
        }
        Outgoing::Outputs(table) => Message::MapOutputs(outputs_to(&table)),
        Outgoing::Noted { attempt, won } => {
            Message::Noted(v1::Noted { attempt: Some(attempt_to(attempt)), won })
        }
        Outgoing::HeartbeatAck(sequence) => Message::HeartbeatAck(v1::HeartbeatAck { sequence }),
        Outgoing::Cancel(attempt) => {
            Message::CancelAttempt(v1::CancelAttempt { attempt: Some(attempt_to(attempt)) })
        }
        Outgoing::Release(job) => Message::ReleaseJob(v1::ReleaseJob { job: job.0 }),
        Outgoing::Drained => Message::Drained(v1::Drained {}),
        Outgoing::End(reason) => return Err(Status::aborted(reason)),
    };
    Ok(v1::CoordinatorMessage { message: Some(message) })
}

/// A record, or group, that must not be tried.
fn deadly_to(bad: BadRecord) -> v1::failure::UserError {
    let BadRecord { place, message, .. } = bad;
    v1::failure::UserError { place: Some(place_to(place)), message }
}

fn assign_map(assignment: Assignment, work: &JobWork) -> v1::AssignMap {
    let Assignment { attempt, alone, skip } = assignment;
    let split = work.plan.splits.get(attempt.task.index as usize);
    let ranges = split.map_or(&[][..], |split| &split.ranges);
    v1::AssignMap {
        attempt: Some(attempt_to(attempt)),
        context: Some(v1::JobContext { split_points: points_to(work), ..context_to(work) }),
        ranges: ranges.iter().map(|range| range_to(&work.plan, range)).collect(),
        input: split.map_or(0, |split| split.input),
        alone,
        skip: skip.into_iter().map(deadly_to).collect(),
    }
}

fn range_to(plan: &Plan, range: &Range) -> v1::FileRange {
    let file = &plan.files[range.file as usize];
    v1::FileRange {
        path: file.path.clone(),
        start: range.start,
        end: range.end,
        file_bytes: file.bytes,
        modified_unix_ns: file.modified_unix_ns,
        file_number: range.file,
    }
}

fn points_to(work: &JobWork) -> Vec<v1::SplitPoint> {
    let point = |(key, value): (&[u8], &[u8])| v1::SplitPoint {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
    };
    work.plan.split_points.iter().map(point).collect()
}

fn context_to(work: &JobWork) -> v1::JobContext {
    let options = &work.spec.options;
    v1::JobContext {
        job: work.spec.job.clone(),
        params: work.spec.params.clone(),
        lossy: options.lossy,
        threads: options.threads,
        memory_bytes: options.memory_bytes,
        partitions: work.plan.partitions,
        staging: work.staging().display().to_string(),
        // Only map tasks need them.
        split_points: Vec::new(),
        record_bytes_max: options.record_bytes_max,
        compression: compression_to(options.compression).into(),
        fan_in: options.fan_in,
        skip_bad_records: options.skip_bad_records.map(budget_to),
        program: Some(program_to(&work.spec.program)),
        files: files_to(&work.spec.files),
        writable: work.spec.writable.iter().map(|path| path.display().to_string()).collect(),
    }
}

fn outputs_to(table: &OutputsTable) -> v1::MapOutputs {
    v1::MapOutputs {
        job: table.job.0,
        version: table.version,
        workers: table.holders.iter().map(holder_to).collect(),
    }
}

fn holder_to(held: &HeldOutputs) -> v1::WorkerOutputs {
    let text = |field: fn(&WorkerProfile) -> &String| {
        held.profile.as_deref().map(field).cloned().unwrap_or_default()
    };
    let outputs = held.outputs.iter().map(|&(task, attempt)| v1::MapOutput { task, attempt });
    v1::WorkerOutputs {
        worker: held.worker.0,
        shuffle_address: text(|profile| &profile.shuffle_address),
        host: text(|profile| &profile.host),
        directory: text(|profile| &profile.directory),
        outputs: outputs.collect(),
    }
}
