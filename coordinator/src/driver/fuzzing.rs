//! For `fuzz/`: records of this driver's journal.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use windrow_jobs::fuzzing::{HeapBound, Target};
use windrow_jobs::{
    AttemptId, FailureCause, JobExecutable, JobId, JobIdentity, JobInput, JobOptions, JobSpec,
    Location, PlatformNeeds, RecordPlace, StageId, TaskId, WorkerId,
};
use windrow_scheduler::journal::{AttachmentId, Body, Epoch, Nonce, Recovered, Slot};
use windrow_scheduler::{
    Attachment, Config, Decider, Event, JobPlan, JournaledState, Record, RequestId, SplitPlan,
    SubmissionId, Time,
};

use super::catalog::{Catalog, JobRef, JobWork, Note};
use super::profile::WorkerProfile;
use crate::journal::{ClusterId, fuzzing};
use crate::output;
use crate::plan::{ClusterSize, Plan};

/// Objects of the journal.
pub(crate) const JOURNAL: Target = Target {
    name: "journal",
    seeds,
    check: fuzzing::check::<Record<Note>, JournaledState<Catalog>, Attachment<JobWork>>,
    // A list may reserve memory for the number of elements that it claims to have, up to a
    // megabyte.
    heap: HeapBound { fixed: 16 << 20, times: 1 << 10 },
};

fn seeds() -> Vec<Vec<u8>> {
    let records = Arc::new(records());
    let attachment = AttachmentId { epoch: Epoch(1), number: 3 };
    let work = Arc::new(Attachment::Catalog(Arc::new(work())));
    let recovered = Recovered {
        batches: vec![Arc::clone(&records)],
        attachments: [(attachment, Arc::clone(&work))].into(),
        ..Recovered::empty(Epoch(2), Nonce(1))
    };
    let new = Catalog::new(ClusterId(7));
    let state = Decider::recover(recovered, Config::default(), new).state().clone();
    let one = |record: &Record<Note>| encode(records_of(vec![record.clone()]));
    let mut seeds: Vec<_> = records.iter().map(one).collect();
    let holds = Slot(2);
    let all = Body::Records { holds, records };
    let bodies = [Body::Begin, Body::Seal { holds }, all, Body::State(Arc::new(state))];
    seeds.extend(bodies.map(encode));
    seeds.push(encode(Body::Attachment(work)));
    seeds
}

fn encode(body: Body<Record<Note>, JournaledState<Catalog>, Attachment<JobWork>>) -> Vec<u8> {
    fuzzing::encode(body)
}

fn records_of(
    records: Vec<Record<Note>>,
) -> Body<Record<Note>, JournaledState<Catalog>, Attachment<JobWork>> {
    Body::Records { holds: Slot(0), records: Arc::new(records) }
}

/// A job is submitted; a worker runs it and fails.
fn records() -> Vec<Record<Note>> {
    let profile = WorkerProfile {
        identity: Some("barn".into()),
        name: "barn:1".into(),
        ..WorkerProfile::for_test()
    };
    let plan = JobPlan {
        splits: [SplitPlan { bytes: 9, affinity: 1 }].into(),
        partitions: 2,
        max_attempts: 4,
        task_timeout: Duration::from_secs(60),
        worker_wait: Duration::from_secs(60),
        priority: 0,
        submitter: 0,
        skip_bad_records: "0.5%".parse().ok(),
        needs: PlatformNeeds::default(),
    };
    let attachment = AttachmentId { epoch: Epoch(1), number: 3 };
    let submit = Event::Submit { request: RequestId(1), submission: SubmissionId(2), plan };
    let joined = Event::WorkerJoined { request: RequestId(2), offer: profile.offer() };
    let attempt =
        AttemptId { task: TaskId { job: JobId(1), stage: StageId::MAP, index: 0 }, number: 1 };
    let cause = FailureCause::UserError { place: RecordPlace::default(), message: "no".into() };
    let failed = Event::AttemptFailed { worker: WorkerId(1), attempt, cause };
    let left = Event::WorkerLeft { worker: WorkerId(1), reason: "it was silent".into() };
    let events = [
        (submit, Note::Job(JobRef::new(Some(attachment), Arc::new(work())))),
        (joined, Note::Worker(Arc::new(profile))),
        (failed, Note::Nothing),
        (left, Note::Nothing),
    ];
    let record = |(event, note)| Record { at: Time::default(), event, note };
    events.map(record).to_vec()
}

#[allow(clippy::expect_used, reason = "every path in this file is valid")]
fn location(path: &str) -> Location {
    Location::of_path(Path::new(path)).expect("a path")
}

/// A small job.
pub(crate) fn work() -> JobWork {
    JobWork {
        identity: JobIdentity(3),
        spec: JobSpec {
            job: "sort".into(),
            params: "{}".into(),
            inputs: vec![JobInput { name: String::new(), pattern: location("/in/*") }],
            output: location("/out"),
            options: JobOptions::default(),
            program: JobExecutable::default(),
            files: Vec::new(),
            writable: vec!["/notes".into()],
        },
        program_version: "1".into(),
        submitter: Some("ada".into()),
        plan: Arc::new(Plan {
            split_bytes: 9,
            fan_in: 9,
            partitions: 2,
            cluster: ClusterSize { workers: 1, threads: 2, memory_bytes: 3 },
            ..Plan::default()
        }),
        paths: output::fuzzing::paths(),
        submitted: UNIX_EPOCH,
    }
}
