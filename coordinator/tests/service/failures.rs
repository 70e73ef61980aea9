//! Failed jobs say why, and leave nothing behind.

use std::time::Duration;

use windrow_proto::v1;
use windrow_proto::v1::JobState;
use windrow_proto::v1::failure::{Cause, UserError};
use windrow_proto::v1::worker_message::Message as FromWorker;

use crate::support::Cluster;

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_too_often_fails_its_job() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    let mut spec = cluster.word_count(1);
    spec.options.as_mut().unwrap().max_attempts = 2;
    let job = cluster.submit(spec).await.unwrap();
    for number in 1..=2 {
        let map = worker.next_map().await;
        assert_eq!(map.attempt.unwrap().attempt, number);
        let place = v1::RecordPlace { file: "/in".into(), offset: Some(7), ..Default::default() };
        let cause = Cause::UserError(UserError { place: Some(place), message: "bad field".into() });
        let failure = Some(v1::Failure { cause: Some(cause) });
        let attempt = map.attempt;
        worker.say(FromWorker::AttemptFailed(v1::AttemptFailed { attempt, failure })).await;
    }
    let status = cluster.final_status(job).await;
    assert_eq!(status.state(), JobState::Failed);
    let message = &status.failure_message;
    assert!(
        message.starts_with("map task 0 failed after 2 attempts: /in at byte 7: bad field"),
        "{message}"
    );
    assert!(matches!(status.failure.unwrap().cause, Some(Cause::UserError(_))));
    assert_eq!(cluster.output_names(), None);
}

#[tokio::test(start_paused = true)]
async fn a_missing_part_fails_its_job() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    let job = cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    worker.next_outputs().await;
    let reduce = worker.next_reduce().await;
    worker.claim_reduce(&reduce, "a\t2\n").await;
    let status = cluster.final_status(job).await;
    assert_eq!(status.state(), JobState::Failed);
    assert!(
        status.failure_message.contains("could not be published"),
        "{}",
        status.failure_message
    );
    assert_eq!(cluster.output_names(), None);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_workers_says_so_and_fails_after_its_wait() {
    let cluster = Cluster::start().await;
    let mut spec = cluster.word_count(1);
    spec.options.as_mut().unwrap().worker_wait_ms = 30_000;
    let before = tokio::time::Instant::now();
    let job = cluster.submit(spec).await.unwrap();
    let statuses = cluster.watch(job).await;
    assert!(statuses[0].waiting.starts_with("there is no worker"), "{}", statuses[0].waiting);
    assert!(before.elapsed() >= Duration::from_secs(30));
    let last = statuses.last().unwrap();
    assert_eq!(last.state(), JobState::Failed);
    assert!(
        last.failure_message.starts_with("there was no worker for 30 s"),
        "{}",
        last.failure_message
    );
    assert_eq!(cluster.output_names(), None);
}
