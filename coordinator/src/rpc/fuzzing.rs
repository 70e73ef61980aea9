//! For `fuzz/`: messages of workers and submitters.

use prost::Message;
use windrow_jobs::StageId;
use windrow_jobs::fuzzing::{HeapBound, Target};
use windrow_proto::v1::worker_message::Message as Said;
use windrow_proto::{runs, v1};

use super::convert;

/// Messages of sessions.
pub(crate) const REPORTS: Target = Target {
    name: "session-messages",
    seeds: report_seeds,
    check: reports,
    heap: HeapBound::MESSAGES,
};

/// Descriptions of jobs.
pub(crate) const SUBMISSIONS: Target = Target {
    name: "submissions",
    seeds: submission_seeds,
    check: submissions,
    heap: HeapBound::MESSAGES,
};

fn report_seeds() -> Vec<Vec<u8>> {
    let attempt = |stage: StageId| {
        Some(v1::AttemptId { job: 1, stage: stage.to_number(), task: 2, attempt: 3 })
    };
    let (map, reduce) = (attempt(StageId::MAP), attempt(StageId::REDUCE));
    let error =
        v1::failure::UserError { place: Some(v1::RecordPlace::default()), message: "no".into() };
    let failure = v1::Failure { cause: Some(v1::failure::Cause::UserError(error)) };
    let stats = v1::AttemptStats {
        audit: Some(v1::Audit { records: 1, digest: 2 }),
        counters: [("words".to_string(), 3)].into(),
        skipped_example: Some(failure.clone()),
        ..Default::default()
    };
    let part =
        v1::Part { location: "/out/part".into(), bytes: 1, records: 2, crc64: 3, upload: None };
    let died = v1::failure::ProcessDied {
        death: Some(v1::failure::process_died::Death::Signal(9)),
        alone: true,
        ..Default::default()
    };
    let died = v1::Failure { cause: Some(v1::failure::Cause::ProcessDied(died)) };
    let returning = v1::Return {
        worker: 1,
        cluster: "c".into(),
        epoch: 2,
        running: runs::packed(map),
        unanswered: runs::packed(reduce),
        outputs: runs::packed(map),
    };
    let hello = v1::Hello {
        name: "barn".into(),
        directory: "/work".into(),
        map_slots: 2,
        reduce_slots: 2,
        r#return: Some(returning),
        platform: Some(v1::Platform { glibc: "2.34".into(), ..Default::default() }),
        ..Default::default()
    };
    let progress = v1::AttemptProgress { attempt: map, records: 1, bytes: 2, steps: 3 };
    let done = v1::MapDone { attempt: map, stats: Some(stats.clone()), ..Default::default() };
    let (stats, part) = (Some(stats), Some(part));
    let reduced = v1::ReduceDone { attempt: reduce, stats, part: part.clone(), bad_records: part };
    [
        Said::Hello(hello),
        Said::Heartbeat(v1::Heartbeat { running: vec![progress], sequence: 1 }),
        Said::MapDone(done),
        Said::ReduceDone(reduced),
        Said::AttemptFailed(v1::AttemptFailed { attempt: map, failure: Some(failure) }),
        Said::AttemptFailed(v1::AttemptFailed { attempt: reduce, failure: Some(died) }),
        Said::OutputsLost(v1::OutputsLost { outputs: runs::packed(map) }),
        Said::Draining(v1::Draining {}),
    ]
    .map(|said| v1::WorkerMessage { message: Some(said) }.encode_to_vec())
    .to_vec()
}

fn reports(bytes: &[u8]) {
    let Ok(message) = v1::WorkerMessage::decode(bytes) else { return };
    if let Some(Said::Hello(hello)) = &message.message {
        let _ = convert::returning_from(hello.r#return.clone());
        if let Ok(profile) = convert::profile_from(hello.clone()) {
            assert!(profile.map_slots > 0 && profile.reduce_slots > 0 && profile.threads > 0);
        }
    }
    let _ = convert::report_from(message);
}

fn submission_seeds() -> Vec<Vec<u8>> {
    let blob = v1::Blob { digest: vec![7; 32].into(), bytes: 8 };
    let needs = v1::PlatformNeeds { glibc: "2.34".into(), ..Default::default() };
    let program = v1::JobExecutable {
        executable: Some(blob.clone()),
        arguments: vec!["mr".into()],
        needs: Some(needs),
    };
    let budget = v1::bad_record_budget::Budget::Share(0.25);
    let options = v1::JobOptions {
        reducers: Some(3),
        split_bytes: Some(4),
        skip_bad_records: Some(v1::BadRecordBudget { budget: Some(budget) }),
        ..Default::default()
    };
    let spec = v1::JobSpec {
        job: "grep".into(),
        params: "{}".into(),
        inputs: vec![v1::JobInput { name: "left".into(), pattern: "/in/*".into() }],
        output: "/out".into(),
        options: Some(options),
        program: Some(program),
        files: vec![v1::SideFile { name: "words".into(), blob: Some(blob) }],
        writable: vec!["/notes".into()],
    };
    let ranges = v1::job_shape::Ranges { within_keys: true };
    let shape = v1::JobShape { ranges: Some(ranges), ..Default::default() };
    let point = v1::SplitPoint { key: "k".into(), value: "v".into() };
    let request = v1::SubmitRequest {
        build: None,
        spec: Some(spec),
        submission: vec![1; 16].into(),
        shape: Some(shape),
        ranges: Some(v1::JobRanges { partitions: 3, points: vec![point] }),
        cluster: "c".into(),
        key: String::new(),
    };
    vec![request.encode_to_vec()]
}

/// An accepted description converts back to what it was.
fn submissions(bytes: &[u8]) {
    let Ok(request) = v1::SubmitRequest::decode(bytes) else { return };
    let _ = convert::submission_from(None, &request.submission, &request.key);
    let _ = convert::shape_from(request.shape);
    if let Some(ranges) = request.ranges
        && let Ok(ranges) = convert::ranges_from(ranges)
    {
        assert!(ranges.points.iter().count() < ranges.partitions as usize);
    }
    if let Ok(spec) = convert::spec_from(request.spec) {
        assert_eq!(convert::spec_from(Some(convert::spec_to(&spec))), Ok(spec));
    }
}
