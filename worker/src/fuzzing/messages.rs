//! Of conversations: with the coordinator, with a job's process, and with a peer that opens a
//! connection; and of breadcrumbs.

use std::io::Write;
use std::time::Duration;

use prost::Message;
use tokio::net::UnixStream;
use windrow_jobs::{AttemptId, FailureCause, JobId, JobIdentity, RecordPlace, StageId, TaskId};
use windrow_proto::fragments::{Fragments, Packed};
use windrow_proto::planes::planes;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as Order;

use super::{block_on, certain};
use crate::breadcrumb;
use crate::channel::{FROM_CHILD_BYTES_MAX, TO_CHILD_BYTES_MAX, split};
use crate::model::{Finished, JobContext, Progress, Stats, Work, WorkerOutputs};
use crate::shuffle::transport::preamble;
use crate::wire::{self, AnnouncedJob, Reader};

pub(super) fn preamble_seeds() -> Vec<Vec<u8>> {
    [0, u128::MAX]
        .map(|job| {
            let mut line = Vec::new();
            certain(block_on(preamble::write(&mut line, JobIdentity(job))));
            line.extend_from_slice(b"PRI * HTTP/2.0");
            line
        })
        .to_vec()
}

/// An accepted preamble encodes to the same bytes, and the bytes after it are not read.
pub(super) fn preambles(bytes: &[u8]) {
    let mut rest = bytes;
    let read = block_on(async {
        let job = preamble::read(&mut rest).await.ok()?;
        let mut line = Vec::new();
        certain(preamble::write(&mut line, job).await);
        Some(line.len())
    });
    if let Some(line_bytes) = read {
        // Leading zeros are accepted.
        assert!(line_bytes + rest.len() <= bytes.len());
        assert_eq!(bytes[bytes.len() - rest.len() - 1], b'\n');
    }
}

fn attempt(stage: StageId) -> AttemptId {
    AttemptId { task: TaskId { job: JobId(1), stage, index: 2 }, number: 3 }
}

fn order_messages() -> Vec<Order> {
    let attempt = |stage| Some(wire::attempt_to(attempt(stage)));
    let place = v1::RecordPlace { file: "/in".into(), offset: Some(7), ..Default::default() };
    let skip = vec![v1::failure::UserError { place: Some(place), message: "bad".into() }];
    let blob = v1::Blob { digest: vec![1; 32].into(), bytes: 9 };
    let context = v1::JobContext {
        identity: vec![7; 16].into(),
        job: "sort".into(),
        params: "{}".into(),
        partitions: 2,
        staging: "/out/_temporary".into(),
        record_bytes_max: 64 << 20,
        program: Some(v1::JobExecutable { executable: Some(blob.clone()), ..Default::default() }),
        files: vec![v1::SideFile { name: "words".into(), blob: Some(blob) }],
        ..Default::default()
    };
    let range = v1::InputRange { location: "/in".into(), end: 100, ..Default::default() };
    let points = vec![v1::SplitPoint { key: "k".into(), value: "v".into() }];
    let outputs = v1::MapOutputs {
        job: 1,
        version: 2,
        holders: vec![1, 1],
        addresses: vec!["127.0.0.1:1".into(), String::new()],
        hosts: vec![1, 0],
        directories: vec!["/work".into(), "/work2".into()],
        holder_planes: planes(&[0, 1, 0]),
        attempt_planes: planes(&[1, 1, 300]),
        ..Default::default()
    };
    let change = v1::MapOutputs { since: Some(1), tasks: vec![1, 2, 4], ..outputs.clone() };
    vec![
        Order::JobContext(context),
        Order::SplitPoints(v1::JobSplitPoints { job: 1, points }),
        Order::MapOutputs(change),
        Order::Fragment(v1::Fragment { bytes: 2, data: "ab".into(), ..Default::default() }),
        Order::Welcome(v1::Welcome { worker: 1, lease_ms: 1_000, ..Default::default() }),
        Order::AssignMap(v1::AssignMap {
            attempt: attempt(StageId::MAP),
            ranges: vec![range],
            skip: skip.clone(),
            ..Default::default()
        }),
        Order::AssignReduce(v1::AssignReduce {
            attempt: attempt(StageId::REDUCE),
            skip,
            ..Default::default()
        }),
        Order::MapOutputs(outputs),
        Order::CancelAttempt(v1::CancelAttempt { attempt: attempt(StageId::MAP) }),
        Order::Noted(v1::Noted { attempt: attempt(StageId::REDUCE), won: true }),
        Order::ReleaseJob(v1::ReleaseJob { job: 1, ticket: 2 }),
    ]
}

pub(super) fn order_seeds() -> Vec<Vec<u8>> {
    let encoded = |order| v1::CoordinatorMessage { message: Some(order) }.encode_to_vec();
    order_messages().into_iter().map(encoded).collect()
}

/// A coordinator's message is decoded or refused; what is passed on of it decodes to the same
/// value.
pub(super) fn orders(bytes: &[u8]) {
    let Ok(message) = v1::CoordinatorMessage::decode(bytes) else { return };
    let _ = wire::welcome_from(Some(message.clone()));
    let Ok(order) = wire::order_from(message) else { return };
    let mut job = AnnouncedJob::default();
    certain(job.take_context(context()));
    match order {
        wire::Order::Map(order) => {
            let run = certain(job.map(order));
            let passed_on = wire::order_from(wire::run_to(&run, 0));
            let Ok(wire::Order::Map(heard)) = passed_on else { panic!("{passed_on:?}") };
            assert_eq!(
                (heard.attempt, heard.alone, heard.skip),
                (run.attempt, run.alone, run.skip)
            );
        }
        wire::Order::Outputs(told) => {
            let (job, is_whole) = (told.job, told.since.is_none());
            let outputs = known_outputs(told);
            assert_eq!(outputs.is_some(), is_whole);
            // Passed on, it decodes to the same value.
            if let Some(outputs) = outputs {
                let passed_on = wire::order_from(wire::outputs_to(job, 0, &outputs));
                let Ok(wire::Order::Outputs(heard)) = passed_on else { panic!("{passed_on:?}") };
                assert_eq!(known_outputs(heard), Some(outputs));
            }
        }
        _ => {}
    }
}

/// The outputs that a reducer decodes from this alone.
fn known_outputs(told: wire::ToldOutputs) -> Option<Vec<WorkerOutputs>> {
    let reader = Reader { host_number: 1, host: "here".into(), ..Reader::default() };
    let (mut job, outputs_version) = (AnnouncedJob::default(), told.version);
    certain(job.take_context(context()));
    job.take_outputs(told, &reader).ok()?;
    let attempt = attempt(StageId::REDUCE);
    let order = wire::ReduceOrder { attempt, outputs_version, alone: false, skip: Vec::new() };
    match job.reduce(order).ok()?.work {
        Work::Reduce(outputs) => Some(outputs.to_vec()),
        Work::Map { .. } => None,
    }
}

fn context() -> JobContext {
    let identity = vec![7; 16].into();
    let staging = "/out/_temporary".into();
    let context = v1::JobContext { identity, staging, ..v1::JobContext::default() };
    let message = v1::CoordinatorMessage { message: Some(Order::JobContext(context)) };
    match wire::order_from(message) {
        Ok(wire::Order::Context(_, context)) => *context,
        other => panic!("{other:?}"),
    }
}

pub(super) fn fragment_seeds() -> Vec<Vec<u8>> {
    let points = (0..200_u32)
        .map(|n| v1::SplitPoint { key: n.to_be_bytes().to_vec().into(), value: "v".into() });
    let points = v1::JobSplitPoints { job: 1, points: points.collect() };
    [Order::SplitPoints(points), Order::ReleaseJob(v1::ReleaseJob { job: 1, ticket: 2 })]
        .map(|order| {
            let message = v1::CoordinatorMessage { message: Some(order) };
            let packed = Packed::of(&message);
            packed.fragments().map(|fragment| framed(&fragment)).collect::<Vec<_>>().concat()
        })
        .to_vec()
}

/// Fragments make up a message or are refused; the message has the same fragments again.
pub(super) fn fragments(bytes: &[u8]) {
    let mut fragments = Fragments::default();
    for fragment in read_all::<v1::Fragment>(bytes, TO_CHILD_BYTES_MAX) {
        match fragments.add(&fragment) {
            Ok(None) => {}
            Ok(Some(message)) => {
                let (packed, mut again) = (Packed::of(&message), Fragments::default());
                let added = packed.fragments().map(|fragment| certain(again.add(&fragment)));
                assert_eq!(added.last().flatten(), Some(message));
            }
            Err(_) => return,
        }
    }
}

/// A message as on the channel, with its length before it.
fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat()
}

/// All messages before the end, or before the first invalid one.
fn read_all<M: Message + Default>(bytes: &[u8], bytes_max: usize) -> Vec<M> {
    block_on(async {
        let (ours, mut theirs) = certain(std::os::unix::net::UnixStream::pair());
        certain(ours.set_nonblocking(true));
        // Inputs are small enough for the socket's buffer.
        certain(theirs.write_all(bytes));
        drop(theirs);
        let (mut reader, _) = split::<M, M>(certain(UnixStream::from_std(ours)), bytes_max);
        let mut messages = Vec::new();
        while let Ok(Some(message)) = reader.next().await {
            messages.push(message);
        }
        messages
    })
}

pub(super) fn to_child_seeds() -> Vec<Vec<u8>> {
    use v1::to_child::Message::{Budget, Credentials, DiscardOutput, End, Identity, Order, Start};
    let credentials =
        v1::ChildCredentials { key: "key".into(), certificate: "c".into(), authority: "a".into() };
    let start = v1::ChildStart {
        job: 1,
        directory: "/work".into(),
        files: vec![v1::ChildFile { name: "words".into(), path: "/words".into() }],
        credentials: Some(credentials.clone()),
        ..Default::default()
    };
    let member = v1::ChildMember { cluster: "c".into(), worker: 1, lease_ends_ns: u64::MAX };
    let mut messages = vec![
        Start(start),
        Identity(v1::ChildIdentity { member: Some(member) }),
        Budget(v1::ChildBudget::default()),
        DiscardOutput(wire::attempt_to(attempt(StageId::MAP))),
        Credentials(credentials),
        End(v1::ChildEnd {}),
    ];
    messages.extend(
        order_messages()
            .into_iter()
            .map(|order| Order(v1::CoordinatorMessage { message: Some(order) })),
    );
    let framed =
        messages.into_iter().map(|message| framed(&v1::ToChild { message: Some(message) }));
    let framed: Vec<_> = framed.collect();
    [framed.clone(), vec![framed.concat()]].concat()
}

/// Messages to a process.
pub(super) fn to_child(bytes: &[u8]) {
    use v1::to_child::Message::{Credentials, DiscardOutput, Identity, Order, Start};
    for message in read_all::<v1::ToChild>(bytes, TO_CHILD_BYTES_MAX) {
        match message.message {
            Some(Order(order)) => drop(wire::order_from(order)),
            Some(Identity(identity)) => drop(wire::identity_from(identity)),
            Some(DiscardOutput(attempt)) => drop(wire::attempt_from(Some(attempt))),
            Some(Credentials(credentials)) => drop(wire::credentials_from(credentials)),
            Some(Start(start)) => drop(start.credentials.map(wire::credentials_from)),
            _ => {}
        }
    }
}

pub(super) fn from_child_seeds() -> Vec<Vec<u8>> {
    use v1::from_child::Message::{Progress as Running, Ready, Report};
    let report = |stage, result| {
        let report = Some(wire::result_to(attempt(stage), result));
        Report(v1::ChildReport { report, ..Default::default() })
    };
    let done = Finished { stats: Stats::default(), part: None, bad_records: None };
    let place = RecordPlace::in_file("/in");
    let failed = FailureCause::UserError { place, message: "no".into() };
    let late = FailureCause::Timeout { after: Duration::from_secs(1) };
    let progress = Progress::of(1, 2, 3);
    let running = [(attempt(StageId::MAP), &progress)].into_iter();
    let messages = [
        Ready(v1::ChildReady {}),
        Running(wire::progress_to(running, 1)),
        report(StageId::MAP, Ok(done)),
        report(StageId::REDUCE, Err(failed)),
        report(StageId::MAP, Err(late)),
    ];
    let framed = messages.map(|message| framed(&v1::FromChild { message: Some(message) }));
    [framed.to_vec(), vec![framed.concat()]].concat()
}

/// Messages from a process, in which user code runs. What is passed on of them decodes to the same
/// value.
pub(super) fn from_child(bytes: &[u8]) {
    use v1::from_child::Message::{Progress, Report};
    for message in read_all::<v1::FromChild>(bytes, FROM_CHILD_BYTES_MAX) {
        match message.message {
            Some(Progress(heartbeat)) => drop(wire::progress_from(heartbeat).count()),
            Some(Report(v1::ChildReport { report: Some(report), .. })) => {
                let Ok((attempt, result)) = wire::report_from(report) else { continue };
                let told = wire::result_to(attempt, result.clone());
                let heard = wire::report_from(told);
                assert_eq!(heard.map(|(attempt, _)| attempt), Ok(attempt));
            }
            _ => {}
        }
    }
}

pub(super) fn breadcrumb_seeds() -> Vec<Vec<u8>> {
    let place = v1::RecordPlace { file: "/in".into(), offset: Some(300), ..Default::default() };
    vec![encoded_breadcrumb(&place), encoded_breadcrumb(&v1::RecordPlace::default())]
}

fn encoded_breadcrumb(place: &v1::RecordPlace) -> Vec<u8> {
    let mut breadcrumb = Vec::new();
    breadcrumb::encode(place, &mut breadcrumb);
    breadcrumb
}

/// An accepted breadcrumb reads the same when it is written again.
pub(super) fn breadcrumbs(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    // Makes the place fill the rest.
    if let Some(len) = sealed.get_mut(8..12) {
        len.copy_from_slice(&((bytes.len() - 12) as u32).to_le_bytes());
    }
    breadcrumb::seal(&mut sealed);
    for bytes in [bytes, &sealed] {
        if let Some(place) = breadcrumb::parse(bytes) {
            let again = encoded_breadcrumb(&wire::place_to(place.clone()));
            assert_eq!(breadcrumb::parse(&again), Some(place));
        }
    }
}
