//! Conversion of the hello, and of the coordinator's messages in a session.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use windrow_jobs::{BadRecord, JobId, Version, WorkerId};
use windrow_proto::fragments::Packed;
use windrow_proto::planes::planes;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message;
use windrow_scheduler::Inventory;
use windrow_scheduler::journal::Epoch;

use super::failure::place_to;
use super::program::{files_to, isolation_from, platform_from, program_to};
use super::spec::{NAME_BYTES_MAX, PATH_BYTES_MAX, budget_to, check, compression_to};
use super::{Malformed, attempt_to, attempts_from, millis};
use crate::driver::{
    Assignment, JobWork, Joined, Outgoing, OutputsHolder, OutputsTable, Receipt, Returning, Shared,
    SharedContent, WorkerProfile,
};
use crate::plan::{Plan, Range};

const SLOTS_MAX: u32 = 4_096;

/// A worker's description of itself. Its build has been checked.
pub(in crate::rpc) fn profile_from(hello: v1::Hello) -> Result<WorkerProfile, Malformed> {
    let names = [&hello.name, &hello.shuffle_address, &hello.host, &hello.instance];
    if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        return Err(Malformed("a name is too long".to_string()));
    }
    check(hello.directory.len() <= PATH_BYTES_MAX, "the worker's folder has too long a name")?;
    if hello.directory.is_empty() {
        return Err(Malformed::missing("directory"));
    }
    let slots = 1..=SLOTS_MAX;
    if !slots.contains(&hello.map_slots) || !slots.contains(&hello.reduce_slots) {
        return Err(Malformed(format!(
            "a worker offers from 1 to {SLOTS_MAX} slots for each stage"
        )));
    }
    let isolation = isolation_from(hello.isolation());
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
        isolation,
        says_released: hello.says_released,
        platform: platform_from(hello.platform.unwrap_or_default())?,
    })
}

/// The state of a returning worker; `None` for a new one.
pub(in crate::rpc) fn returning_from(
    returning: Option<v1::Return>,
) -> Result<Option<Returning>, Malformed> {
    let Some(returning) = returning else { return Ok(None) };
    check(returning.cluster.len() <= NAME_BYTES_MAX, "a name is too long")?;
    Ok(Some(Returning {
        worker: WorkerId(returning.worker),
        cluster: returning.cluster,
        epoch: Epoch(returning.epoch),
        inventory: Inventory {
            running: attempts_from(&returning.running)?.into_iter().collect(),
            unanswered: attempts_from(&returning.unanswered)?.into_iter().collect(),
            outputs: attempts_from(&returning.outputs)?.into_iter().collect(),
        },
    }))
}

/// The first message of a session.
pub(in crate::rpc) fn welcome_to(
    joined: &Joined,
    protocol: u32,
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
        host: joined.host,
        protocol,
    };
    v1::CoordinatorMessage { message: Some(Message::Welcome(welcome)) }
}

pub(in crate::rpc) fn receipt_to(receipt: Receipt) -> v1::CoordinatorMessage {
    let message = match receipt {
        Receipt::Noted { attempt, won } => {
            Message::Noted(v1::Noted { attempt: Some(attempt_to(attempt)), won })
        }
        Receipt::HeartbeatAck(sequence) => Message::HeartbeatAck(v1::HeartbeatAck { sequence }),
    };
    v1::CoordinatorMessage { message: Some(message) }
}

/// An order as it is sent.
pub(in crate::rpc) enum Sent {
    /// A message to one worker.
    Message(Box<v1::CoordinatorMessage>),
    /// A message to many workers, sent in fragments.
    Shared(Arc<Shared>),
}

/// Converts an order of the outbox.
pub(in crate::rpc) fn order_to(order: Outgoing) -> Result<Sent, Status> {
    let message = match order {
        Outgoing::Shared(shared) => return Ok(Sent::Shared(shared)),
        Outgoing::Map { assignment, work } => Message::AssignMap(assign_map(assignment, &work)),
        Outgoing::Reduce { assignment, outputs_version } => {
            let Assignment { attempt, alone, skip } = assignment;
            Message::AssignReduce(v1::AssignReduce {
                attempt: Some(attempt_to(attempt)),
                outputs_version,
                alone,
                skip: skip.into_iter().map(poison_to).collect(),
            })
        }
        Outgoing::Cancel(attempt) => {
            Message::CancelAttempt(v1::CancelAttempt { attempt: Some(attempt_to(attempt)) })
        }
        Outgoing::Release { job, ticket } => {
            Message::ReleaseJob(v1::ReleaseJob { job: job.0, ticket: ticket.unwrap_or_default() })
        }
        Outgoing::Drained => Message::Drained(v1::Drained {}),
        Outgoing::End(reason) => return Err(Status::aborted(reason)),
    };
    Ok(Sent::Message(Box::new(v1::CoordinatorMessage { message: Some(message) })))
}

/// Encodes a message to many workers.
pub(in crate::rpc) fn packed(content: &SharedContent) -> Packed {
    let message = match content {
        SharedContent::Context(job, work) => Message::JobContext(context_to(*job, work)),
        SharedContent::SplitPoints(job, work) => Message::SplitPoints(points_to(*job, work)),
        SharedContent::Outputs(table) => Message::MapOutputs(outputs_to(table)),
    };
    Packed::of(&v1::CoordinatorMessage { message: Some(message) })
}

/// A record or group that must be skipped.
fn poison_to(bad: BadRecord) -> v1::failure::UserError {
    let BadRecord { place, message, .. } = bad;
    v1::failure::UserError { place: Some(place_to(place)), message }
}

fn assign_map(assignment: Assignment, work: &JobWork) -> v1::AssignMap {
    let Assignment { attempt, alone, skip } = assignment;
    let split = work.plan.splits.get(attempt.task.index as usize);
    let ranges = split.map_or(&[][..], |split| &split.ranges);
    v1::AssignMap {
        attempt: Some(attempt_to(attempt)),
        ranges: ranges.iter().map(|range| range_to(&work.plan, range)).collect(),
        input: split.map_or(0, |split| split.input),
        alone,
        skip: skip.into_iter().map(poison_to).collect(),
    }
}

fn range_to(plan: &Plan, range: &Range) -> v1::InputRange {
    let file = &plan.files[range.file as usize];
    let version = match &file.version {
        Version::Local { modified_unix_ns, .. } => {
            v1::input_range::Version::ModifiedUnixNs(*modified_unix_ns)
        }
        Version::Object { etag, .. } => v1::input_range::Version::Etag(etag.to_string()),
    };
    v1::InputRange {
        location: file.location.to_string(),
        start: range.start,
        end: range.end,
        file_bytes: file.bytes(),
        version: Some(version),
        file_number: range.file,
    }
}

fn points_to(job: JobId, work: &JobWork) -> v1::JobSplitPoints {
    let point = |(key, value): (&[u8], &[u8])| v1::SplitPoint {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
    };
    let points = work.plan.split_points.iter().map(point).collect();
    v1::JobSplitPoints { job: job.0, points }
}

fn context_to(job: JobId, work: &JobWork) -> v1::JobContext {
    let options = &work.spec.options;
    v1::JobContext {
        id: job.0,
        identity: work.identity.to_bytes().to_vec().into(),
        job: work.spec.job.clone(),
        params: work.spec.params.clone(),
        lossy: options.lossy,
        threads: options.threads,
        memory_bytes: options.memory_bytes,
        partitions: work.plan.partitions,
        staging: work.staging().to_string(),
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
    let OutputsTable { job, version, since, outputs, holders } = table;
    let column =
        |of: fn(&(u32, u32, u32)) -> u32| planes(&outputs.iter().map(of).collect::<Vec<_>>());
    let text = |of: fn(&OutputsHolder) -> &str| {
        holders.iter().map(|holder| of(holder).to_string()).collect::<Vec<_>>()
    };
    let mut message = v1::MapOutputs {
        job: job.0,
        version: *version,
        since: *since,
        addresses: text(OutputsHolder::address),
        directories: text(OutputsHolder::shared_directory),
        holder_planes: column(|(_, _, holder)| *holder),
        attempt_planes: column(|(_, attempt, _)| *attempt),
        ..Default::default()
    };
    if since.is_some() {
        message.tasks = outputs.iter().map(|(task, _, _)| *task).collect();
    }
    let (mut worker, mut host) = (0, 0);
    for holder in holders {
        debug_assert!(holder.worker.0 >= worker, "holders ascend");
        message.holders.push(holder.worker.0 - worker);
        message.hosts.push(holder.host.wrapping_sub(host) as i32);
        (worker, host) = (holder.worker.0, holder.host);
    }
    message
}

impl OutputsHolder {
    fn address(&self) -> &str {
        self.profile.as_ref().map_or("", |profile| &profile.shuffle_address)
    }

    /// The folder of the worker's segments, if others may read it. In embedded mode, outputs are
    /// read only that way.
    fn shared_directory(&self) -> &str {
        match &self.profile {
            Some(profile) if self.has_neighbours || profile.shuffle_address.is_empty() => {
                &profile.directory
            }
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> v1::Hello {
        v1::Hello {
            name: "w".into(),
            directory: "/w".into(),
            map_slots: 1,
            reduce_slots: 1,
            ..Default::default()
        }
    }

    /// Everything stored of a worker and sent to others is bounded.
    #[test]
    fn a_hello_with_a_long_text_is_refused() {
        assert!(profile_from(hello()).is_ok());
        let long = || "x".repeat(1 << 20);
        let spoil: [fn(&mut v1::Hello, String); 8] = [
            |hello, long| hello.name = long,
            |hello, long| hello.shuffle_address = long,
            |hello, long| hello.host = long,
            |hello, long| hello.instance = long,
            |hello, long| hello.directory = long,
            |hello, long| hello.platform.get_or_insert_default().arch = long,
            |hello, long| hello.platform.get_or_insert_default().glibc = long,
            |hello, long| hello.platform.get_or_insert_default().interpreters.push(long),
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut hello = hello();
            spoil(&mut hello, long());
            assert!(profile_from(hello).is_err(), "{number}");
        }
        let returning = v1::Return { cluster: long(), ..Default::default() };
        assert!(returning_from(Some(returning)).is_err());
    }
}
