//! Submissions that are refused before anything runs, and the messages.

use std::fs;
use std::sync::Arc;

use tokio::task::JoinSet;
use tonic::{Code, Status};
use windrow_proto::v1;

use crate::support::{Cluster, build, numbered, submission_of};

/// The refusal of a word count that `spoil` has made invalid.
async fn refusal(cluster: &Cluster, spoil: impl FnOnce(&mut v1::JobSpec)) -> Status {
    let mut spec = cluster.word_count(1);
    spoil(&mut spec);
    let refused = cluster.submit(spec).await.unwrap_err();
    assert!(
        cluster
            .jobs
            .clone()
            .list(v1::ListRequest::default())
            .await
            .unwrap()
            .into_inner()
            .jobs
            .is_empty()
    );
    refused
}

#[tokio::test]
async fn wrong_submissions_are_refused_and_leave_nothing() {
    let cluster = Cluster::start().await;
    let status = refusal(&cluster, |spec| spec.inputs[0].pattern = "/nowhere/*.txt".into()).await;
    assert_eq!(status.code(), Code::NotFound);
    assert!(
        status.message().starts_with("no input matches '/nowhere/*.txt'"),
        "{}",
        status.message()
    );

    let status = refusal(&cluster, |spec| spec.output = "/proc/none/out".into()).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().starts_with("cannot write to output /proc/none/out"),
        "{}",
        status.message()
    );
    assert_eq!(cluster.output_names(), None);
}

#[tokio::test]
async fn an_ordered_job_must_have_the_planned_number_of_ranges() {
    let cluster = Cluster::start().await;
    let ranges = v1::job_shape::Ranges { within_keys: true };
    let shape = Some(v1::JobShape { ranges: Some(ranges), ..Default::default() });
    let spec = cluster.word_count(3);
    let request = v1::PlanRequest {
        build: Some(build()),
        spec: Some(spec.clone()),
        shape: shape.clone(),
        ..Default::default()
    };
    let reply = cluster.jobs.clone().plan(request).await.unwrap().into_inner();
    assert_eq!(reply.partitions, 3);
    // Planning stores nothing.
    assert_eq!(cluster.output_names(), None);

    let without = v1::SubmitRequest { shape, ..submission_of(spec) };
    let status = cluster.jobs.clone().submit(without.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("has none"), "{}", status.message());
    let ranges = Some(v1::JobRanges { partitions: 3, points: Vec::new() });
    cluster.jobs.clone().submit(v1::SubmitRequest { ranges, ..without }).await.unwrap();
}

#[tokio::test]
async fn an_output_with_content_is_refused_untouched() {
    let cluster = Cluster::start().await;
    fs::create_dir(cluster.output()).unwrap();
    fs::write(cluster.output().join("precious"), "").unwrap();
    let status = refusal(&cluster, |_| {}).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("exists and is not empty"), "{}", status.message());
    assert_eq!(cluster.output_names().unwrap(), ["precious"]);
}

#[tokio::test]
async fn one_output_serves_one_running_job() {
    let cluster = Cluster::start().await;
    let job = cluster.submit(cluster.word_count(1)).await.unwrap();
    let status = cluster.submit(cluster.word_count(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("belongs to job-1"), "{}", status.message());
    cluster.cancel(numbered(job)).await.unwrap();
    cluster.submit(cluster.word_count(1)).await.unwrap();
}

#[tokio::test]
async fn a_submitter_of_another_protocol_is_refused() {
    let cluster = Cluster::start().await;
    let digest = "feedfeedfeedfeed".to_string();
    let other = v1::Build { protocol_min: 98, protocol_version: 99, digest, ..build() };
    let request = v1::SubmitRequest { build: Some(other), ..submission_of(cluster.word_count(1)) };
    let status = cluster.jobs.clone().submit(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    for name in ["feedfeed", "01234567", "the submitter", "the coordinator"] {
        assert!(status.message().contains(name), "{}", status.message());
    }
}

#[tokio::test]
async fn unknown_jobs_are_named() {
    let cluster = Cluster::start().await;
    let mut jobs = cluster.jobs.clone();
    let refusals = [
        jobs.get(v1::GetRequest { job: numbered(7) }).await.unwrap_err(),
        jobs.cancel(v1::CancelRequest { job: numbered(7) }).await.unwrap_err(),
        jobs.watch(v1::WatchRequest { job: numbered(7) }).await.unwrap_err(),
    ];
    for status in refusals {
        assert_eq!(status.code(), Code::NotFound);
        assert!(
            status.message().starts_with("there is no job 7 in this cluster"),
            "{}",
            status.message()
        );
    }
}

/// An absent number is read as 0.
#[tokio::test]
async fn logs_of_a_task_without_a_stage_are_refused() {
    let cluster = Cluster::start().await;
    let job = cluster.submit(cluster.word_count(1)).await.unwrap();
    let task = Some(v1::LogsOfTask { stage: 0, task: 0 });
    let request = v1::LogsRequest { job: numbered(job), task };
    let status = cluster.jobs.clone().logs(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "no stage is named"));
}

#[tokio::test(start_paused = true)]
async fn a_truncated_request_times_out_without_delaying_others() {
    let cluster = Arc::new(Cluster::start().await);
    let declared = 250_000_u32.to_be_bytes();
    let half = [vec![0], declared.to_vec(), vec![0; 100]].concat();
    let mut submissions = JoinSet::new();
    for _ in 0..20 {
        let (cluster, half) = (Arc::clone(&cluster), half.clone());
        let submission = async move { cluster.half_a_call("/windrow.v1.Jobs/Submit", &half).await };
        submissions.spawn(submission);
    }
    cluster.submit(cluster.word_count(1)).await.unwrap();
    while let Some(refused) = submissions.join_next().await {
        let refused = refused.unwrap();
        assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused}");
    }
}

/// Running jobs and ended ones.
#[tokio::test(start_paused = true)]
async fn jobs_are_listed_in_pages_by_number() {
    let cluster = Cluster::start().await;
    let mut spec = cluster.word_count(1);
    for job in 1..=5 {
        spec.output = cluster.dir.path().join(format!("out-{job}")).display().to_string();
        assert_eq!(cluster.submit(spec.clone()).await.unwrap(), job);
        if job % 2 == 0 {
            cluster.cancel(numbered(job)).await.unwrap();
        }
    }
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let request = v1::ListRequest { limit: 2, before, ..Default::default() };
        let page = cluster.jobs.clone().list(request).await.unwrap().into_inner();
        pages.push(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>());
        before = page.jobs.first().map(|job| job.id);
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, [vec![4, 5], vec![2, 3], vec![1]]);
}
