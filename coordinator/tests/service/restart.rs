//! A coordinator dies at any moment, and another one goes on with its journal.

use std::fs;

use tonic::Code;
use windrow_coordinator::{DriverError, JournalError, ServeError};
use windrow_proto::v1;
use windrow_proto::v1::JobState;

use crate::support::{Cluster, submission_of};

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_and_keeps_what_its_worker_kept() {
    let cluster = Cluster::start_with_journal().await;
    let mut worker = cluster.worker("/w").await;
    let job = cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    worker.next_reduce_with_outputs().await;

    let (cluster, _former) = cluster.take_over().await;
    let mut back = cluster.come_back("/w", worker.returning(&[map], &[])).await;
    assert!(back.welcome.returned);
    assert_eq!(back.welcome.worker, worker.welcome.worker);
    assert_eq!(back.welcome.cluster, worker.welcome.cluster);
    assert!(back.welcome.epoch > worker.welcome.epoch);
    let reduce = back.next_reduce_with_outputs().await;
    back.finish_reduce(&reduce, "a\t2\n").await;

    let status = cluster.final_status(job).await;
    assert_eq!(status.state(), JobState::Succeeded);
    assert_eq!(status.map.unwrap().attempts, 1, "the map was done again");
    assert_eq!(cluster.output_names().unwrap(), ["_SUCCESS", "part-00000"]);
    assert_eq!(fs::read_to_string(cluster.output().join("part-00000")).unwrap(), "a\t2\n");
}

#[tokio::test(start_paused = true)]
async fn ended_jobs_are_still_known_and_ids_go_on() {
    let cluster = Cluster::start_with_journal().await;
    let first = cluster.submit(cluster.word_count(1)).await.unwrap();
    let cancel = v1::CancelRequest { job: first };
    cluster.jobs.clone().cancel(cancel).await.unwrap();
    let (cluster, _former) = cluster.take_over().await;
    assert_eq!(cluster.watch(first).await.len(), 1);
    assert_eq!(cluster.final_status(first).await.state(), JobState::Cancelled);
    let second = cluster.submit(cluster.word_count(1)).await.unwrap();
    assert!(second > first);
    let (cluster, _former) = cluster.take_over().await;
    let jobs = cluster.jobs.clone().list(v1::ListRequest {}).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(jobs[1].spec.as_ref().unwrap().job, "word-count");
}

#[tokio::test(start_paused = true)]
async fn a_submission_that_is_told_again_is_the_same_job() {
    let cluster = Cluster::start_with_journal().await;
    let name = [7; 16];
    let spec = cluster.word_count(1);
    // Both at the same time, as when a submitter has lost patience.
    let (first, again) = tokio::join!(
        cluster.submit_as(&name, spec.clone()),
        cluster.submit_as(&name, spec.clone())
    );
    let job = first.unwrap();
    assert_eq!(again.unwrap(), job);
    let (cluster, _former) = cluster.take_over().await;
    assert_eq!(cluster.submit_as(&name, spec.clone()).await.unwrap(), job);
    // Another one is another job, and the output is not its own.
    let refused = cluster.submit_as(&[8; 16], spec).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_told_again_gets_the_same_answer() {
    let cluster = Cluster::start_with_journal().await;
    let mut worker = cluster.worker("/w").await;
    cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    assert!(worker.next_noted().await.won);
    // As if it had not heard that.
    let (cluster, _former) = cluster.take_over().await;
    let maps = [map.clone()];
    let mut back = cluster.come_back("/w", worker.returning(&maps, &maps)).await;
    back.finish_map(&map).await;
    assert_eq!(back.next_noted().await, v1::Noted { attempt: map.attempt, won: true });
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_does_not_bring_back_is_done_again() {
    let cluster = Cluster::start_with_journal().await;
    let mut worker = cluster.worker("/w").await;
    cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    worker.next_reduce_with_outputs().await;
    let (cluster, _former) = cluster.take_over().await;
    let mut back = cluster.come_back("/w", worker.returning(&[], &[])).await;
    let again = back.next_map().await;
    assert_eq!(again.ranges, map.ranges);
    assert_eq!(again.attempt.unwrap().attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn workers_that_do_not_come_back_are_lost_after_their_lease() {
    let cluster = Cluster::start_with_journal().await;
    let _gone = cluster.worker("/w").await;
    let (cluster, _former) = cluster.take_over().await;
    assert_eq!(cluster.workers().await.len(), 1);
    cluster.wait_for_workers(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_was_replaced_acknowledges_nothing_and_ends() {
    let cluster = Cluster::start_with_journal().await;
    // Workers are welcomed once its log has begun. Before, the takeover could end it before it has taken a job's output.
    let _worker = cluster.worker("/w").await;
    let former_jobs = cluster.jobs.clone();
    let spec = cluster.word_count(1);
    let (cluster, former) = cluster.take_over().await;
    assert!(former_jobs.clone().submit(submission_of(spec)).await.is_err());
    let error = former.await.unwrap().unwrap_err();
    assert!(
        matches!(error, ServeError::Driver(DriverError::Journal(JournalError::Fenced(_)))),
        "{error}"
    );
    // It does not know whether its successor has the job, and must not remove what that one writes to.
    assert_eq!(cluster.output_names().unwrap(), ["_temporary"]);
    assert!(
        cluster.jobs.clone().list(v1::ListRequest {}).await.unwrap().into_inner().jobs.is_empty()
    );
    // Nor does what it has left in the output folder keep its successor out.
    cluster.submit(cluster.word_count(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_folder_is_kept_for_a_job_whose_coordinator_is_gone() {
    let cluster = Cluster::start_with_journal().await;
    let spec = cluster.word_count(1);
    cluster.submit(spec.clone()).await.unwrap();
    cluster.serving.abort();
    let other = Cluster::start().await;
    let refused = other.submit(spec).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(cluster.output().join("_temporary").exists());
}
