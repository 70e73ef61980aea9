//! A job from its submission to its visible output.

use std::fs;

use windrow_proto::planes::numbers;
use windrow_proto::v1;
use windrow_proto::v1::JobState;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;

use crate::support::{Cluster, numbered, submission_of};

#[tokio::test(start_paused = true)]
async fn an_output_becomes_visible_when_its_job_succeeds() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    let job = cluster.submit(cluster.word_count(2)).await.unwrap();

    let map = worker.next_map().await;
    assert_eq!(map.ranges.len(), 1);
    assert_eq!((map.ranges[0].start, map.ranges[0].end, map.ranges[0].file_bytes), (0, 6, 6));
    assert_eq!(worker.contexts[&job].partitions, 2);
    worker.finish_map(&map).await;

    let outputs = worker.next_outputs().await;
    assert_eq!(outputs.holders, [worker.welcome.worker]);
    assert_eq!(outputs.addresses, ["/w:1"]);
    assert_eq!(numbers(&outputs.attempt_planes), Some(vec![1]));
    let first = worker.next_reduce().await;
    let second = worker.next_reduce().await; // At once: the same version of the outputs is not sent again.
    assert_eq!(first.outputs_version, outputs.version);
    assert_eq!(second.outputs_version, outputs.version);

    worker.finish_reduce(&first, "a\t2\n").await;
    assert_eq!(cluster.output_names().unwrap(), ["_temporary"], "the output was visible too early");
    worker.finish_reduce(&second, "b\t1\n").await;

    let status = cluster.final_status(job).await;
    assert_eq!(status.state(), JobState::Succeeded);
    assert_eq!((status.output_records, status.output_bytes), (2, 8));
    assert_eq!((status.input_files, status.input_bytes), (1, 6));
    assert_eq!(cluster.output_names().unwrap(), ["_SUCCESS", "part-00000", "part-00001"]);
    assert_eq!(fs::read_to_string(cluster.output().join("part-00000")).unwrap(), "a\t2\n");
    assert!(
        matches!(worker.next().await, FromCoordinator::ReleaseJob(v1::ReleaseJob { job: j, .. }) if j == job)
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_worker_gets_the_outputs_of_the_others() {
    let cluster = Cluster::start().await;
    let mut first = cluster.worker("/first").await;
    cluster.submit(cluster.word_count(4)).await.unwrap();
    let map = first.next_map().await;
    first.finish_map(&map).await;
    first.next_outputs().await;
    let mut second = cluster.worker("/second").await;
    let outputs = second.next_outputs().await;
    assert_eq!(outputs.holders, [first.welcome.worker]);
    second.next_reduce().await;
}

#[tokio::test(start_paused = true)]
async fn watching_is_rate_limited_and_ends_with_the_final_status() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    let job = cluster.submit(cluster.word_count(1)).await.unwrap();
    let watching = {
        let jobs = cluster.jobs.clone();
        tokio::spawn(async move {
            let request = v1::WatchRequest { job: numbered(job) };
            let mut stream = jobs.clone().watch(request).await.unwrap().into_inner();
            let mut seen = Vec::new();
            while let Some(status) = stream.message().await.unwrap() {
                seen.push((tokio::time::Instant::now(), status.state()));
            }
            seen
        })
    };
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    worker.next_outputs().await;
    let reduce = worker.next_reduce().await;
    worker.finish_reduce(&reduce, "a\t2\n").await;

    let seen = watching.await.unwrap();
    let (states, times): (Vec<_>, Vec<_>) =
        seen.iter().map(|(time, state)| (*state, *time)).unzip();
    assert_eq!(states.last(), Some(&JobState::Succeeded));
    assert_eq!(states.iter().filter(|state| **state == JobState::Succeeded).count(), 1);
    let before_last = &times[..times.len() - 1];
    assert!(
        before_last
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= std::time::Duration::from_millis(100))
    );
    // A late watcher gets only the final status.
    assert_eq!(cluster.watch(job).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_leaves_nothing_and_is_released() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    let job = cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;

    let cancelled = cluster.cancel(numbered(job)).await.unwrap();
    assert_eq!(cancelled.status.unwrap().state(), JobState::Cancelled);
    assert!(!cancelled.too_late);
    assert_eq!(cluster.output_names(), None);
    let FromCoordinator::CancelAttempt(cancel) = worker.next().await else { panic!("no cancel") };
    assert_eq!(cancel.attempt, map.attempt);
    assert!(matches!(worker.next().await, FromCoordinator::ReleaseJob(_)));

    // Cancelling again changes nothing.
    let cancelled = cluster.cancel(numbered(job)).await.unwrap();
    assert_eq!(cancelled.status.unwrap().state(), JobState::Cancelled);
    assert!(cancelled.too_late);
}

#[tokio::test(start_paused = true)]
async fn stopping_cancels_jobs_and_ends_sessions() {
    let mut cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    let job = cluster.submit(cluster.word_count(1)).await.unwrap();
    worker.next_map().await;
    cluster.shutdown.cancel();
    let status = cluster.final_status(job).await;
    assert_eq!(status.state(), JobState::Cancelled);
    assert_eq!(cluster.output_names(), None);
    assert_eq!(worker.end().await.unwrap_err().message(), "the coordinator has stopped");
    drop(worker);
    (&mut cluster.serving).await.unwrap().unwrap();
    assert!(cluster.submit(cluster.word_count(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_map_without_its_part_is_attempted_again() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    let shape = Some(v1::JobShape { map_only: true, ..Default::default() });
    let mut spec = cluster.word_count(1);
    spec.options = None;
    let request = v1::SubmitRequest { shape, ..submission_of(spec) };
    cluster.jobs.clone().submit(request).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    // Otherwise the job would fail at its publication.
    let again = worker.next_map().await;
    assert_eq!(again.attempt.unwrap().attempt, 2);
}
