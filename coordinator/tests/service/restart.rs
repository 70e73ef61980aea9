//! A coordinator dies at any moment, and another continues with its journal.

use std::fs;

use tonic::Code;
use windrow_coordinator::{DriverError, JournalError, ServeError};
use windrow_proto::v1;
use windrow_proto::v1::JobState;

use crate::support::{Cluster, identified, numbered, submission_of};

#[tokio::test(start_paused = true)]
async fn a_job_continues_with_the_outputs_of_its_returning_worker() {
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
    assert_eq!(status.map.unwrap().attempts, 1, "the map ran again");
    assert_eq!(cluster.output_names().unwrap(), ["_SUCCESS", "part-00000"]);
    assert_eq!(fs::read_to_string(cluster.output().join("part-00000")).unwrap(), "a\t2\n");
}

#[tokio::test(start_paused = true)]
async fn ended_jobs_are_still_known_and_ids_are_not_reused() {
    let cluster = Cluster::start_with_journal().await;
    let first = cluster.submit(cluster.word_count(1)).await.unwrap();
    cluster.cancel(numbered(first)).await.unwrap();
    let (cluster, _former) = cluster.take_over().await;
    assert_eq!(cluster.watch(first).await.len(), 1);
    assert_eq!(cluster.final_status(first).await.state(), JobState::Cancelled);
    let second = cluster.submit(cluster.word_count(1)).await.unwrap();
    assert!(second > first);
    let (cluster, _former) = cluster.take_over().await;
    let jobs =
        cluster.jobs.clone().list(v1::ListRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(jobs[1].spec.as_ref().unwrap().job, "word-count");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_submission_is_the_same_job() {
    let cluster = Cluster::start_with_journal().await;
    let name = [7; 16];
    let spec = cluster.word_count(1);
    // Concurrently, as when a submitter retries after a timeout.
    let (first, again) = tokio::join!(
        cluster.accepted_as(&name, spec.clone()),
        cluster.accepted_as(&name, spec.clone())
    );
    let (first, again) = (first.unwrap(), again.unwrap());
    assert_eq!((first.job, &first.identity), (again.job, &again.identity));
    assert_ne!(first.before, again.before, "one of them was first");
    let accepted = v1::SubmitReply { before: true, ..first };
    assert_eq!(accepted.identity.len(), 16);
    let (cluster, _former) = cluster.take_over().await;
    assert_eq!(cluster.accepted_as(&name, spec.clone()).await.unwrap(), accepted);
    let get = v1::GetRequest { job: identified(&accepted) };
    let status = cluster.jobs.clone().get(get).await.unwrap().into_inner();
    assert_eq!((status.id, &status.identity), (accepted.job, &accepted.identity));
    // Another submission is another job, and may not use the same output.
    let refused = cluster.submit_as(&[8; 16], spec).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_report_gets_the_same_answer() {
    let cluster = Cluster::start_with_journal().await;
    let mut worker = cluster.worker("/w").await;
    cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    assert!(worker.next_noted().await.won);
    // As if the worker had not received the answer.
    let (cluster, _former) = cluster.take_over().await;
    let maps = [map.clone()];
    let mut back = cluster.come_back("/w", worker.returning(&maps, &maps)).await;
    back.finish_map(&map).await;
    assert_eq!(back.next_noted().await, v1::Noted { attempt: map.attempt, won: true });
}

#[tokio::test(start_paused = true)]
async fn outputs_that_a_returning_worker_lacks_are_computed_again() {
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
async fn workers_that_do_not_return_are_lost_after_their_lease() {
    let cluster = Cluster::start_with_journal().await;
    let _gone = cluster.worker("/w").await;
    let (cluster, _former) = cluster.take_over().await;
    assert_eq!(cluster.workers().await.len(), 1);
    cluster.wait_for_workers(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_fenced_coordinator_acknowledges_nothing_and_ends() {
    let cluster = Cluster::start_with_journal().await;
    // Workers are welcomed once its log has begun. Without one, the takeover could come before the
    // coordinator has reserved the job's output.
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
    // The fenced coordinator cannot know whether its successor has the job, so it must not remove
    // the staging folder.
    assert_eq!(cluster.output_names().unwrap(), ["_temporary"]);
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
    // What the fenced coordinator left in the output folder does not block its successor.
    cluster.submit(cluster.word_count(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_output_stays_reserved_when_its_coordinator_is_gone() {
    let cluster = Cluster::start_with_journal().await;
    let spec = cluster.word_count(1);
    cluster.submit(spec.clone()).await.unwrap();
    cluster.serving.abort();
    let other = Cluster::start().await;
    let refused = other.submit(spec).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(cluster.output().join("_temporary").exists());
}

#[tokio::test(start_paused = true)]
async fn a_job_of_another_coordinator_is_never_mistaken() {
    let former = Cluster::start().await;
    let name = [7; 16];
    let ours = former.accepted_as(&name, former.word_count(1)).await.unwrap();
    former.shutdown.cancel();
    // Restarted without a journal, the coordinator gives the same number to the next submission,
    // also to a repeated one.
    let cluster = Cluster::start().await;
    let theirs = cluster.accepted_as(&name, cluster.word_count(1)).await.unwrap();
    assert_eq!(theirs.job, ours.job);
    assert_ne!(theirs.identity, ours.identity);
    assert_ne!(theirs.cluster, ours.cluster);
    let job = || identified(&ours);
    let mut jobs = cluster.jobs.clone();
    for refused in [
        jobs.get(v1::GetRequest { job: job() }).await.unwrap_err(),
        jobs.watch(v1::WatchRequest { job: job() }).await.unwrap_err(),
        jobs.logs(v1::LogsRequest { job: job(), task: None }).await.unwrap_err(),
        cluster.cancel(job()).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
    }
    let get = v1::GetRequest { job: identified(&theirs) };
    let status = jobs.get(get).await.unwrap().into_inner();
    assert_eq!(status.state(), JobState::Running, "it was cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_refused_by_a_second_cluster() {
    let former = Cluster::start().await;
    let in_charge = former.jobs.clone().in_charge(v1::InChargeRequest {}).await.unwrap();
    let told = in_charge.into_inner().cluster;
    let cluster = Cluster::start().await;
    let request =
        v1::SubmitRequest { cluster: told.clone(), ..submission_of(cluster.word_count(1)) };
    let refused = cluster.jobs.clone().submit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains(&told), "{}", refused.message());
    assert_eq!(cluster.output_names(), None);
}

#[tokio::test(start_paused = true)]
async fn a_key_names_one_job_across_submissions() {
    let cluster = Cluster::start_with_journal().await;
    let spec = cluster.word_count(1);
    let keyed =
        |key: &str, spec: v1::JobSpec| v1::SubmitRequest { key: key.into(), ..submission_of(spec) };
    let submit = |cluster: &Cluster, request| {
        let mut jobs = cluster.jobs.clone();
        async move { jobs.submit(request).await.map(|reply| reply.into_inner()) }
    };
    let first = submit(&cluster, keyed("nightly", spec.clone())).await.unwrap();
    assert!(!first.before);
    cluster.cancel(identified(&first)).await.unwrap();
    let (cluster, _former) = cluster.take_over().await;
    // An ended job is not run again, however it ended.
    let again = submit(&cluster, keyed("nightly", spec.clone())).await.unwrap();
    assert_eq!(again, v1::SubmitReply { before: true, ..first.clone() });
    let plan = v1::PlanRequest {
        build: Some(crate::support::build()),
        spec: Some(spec.clone()),
        shape: Some(v1::JobShape::default()),
        key: "nightly".into(),
        ..Default::default()
    };
    let planned = cluster.jobs.clone().plan(plan).await.unwrap().into_inner();
    assert_eq!(planned.accepted, Some(again));
    // A key names one spec.
    let other = v1::JobSpec { params: "{\"other\": 1}".into(), ..spec.clone() };
    let refused = submit(&cluster, keyed("nightly", other)).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    for part in ["'nightly'", "job 1", "word-count", "use another name"] {
        assert!(refused.message().contains(part), "{}", refused.message());
    }
    let both = v1::SubmitRequest { submission: vec![7; 16].into(), ..keyed("a", spec.clone()) };
    assert_eq!(submit(&cluster, both).await.unwrap_err().code(), Code::InvalidArgument);
    let second = submit(&cluster, keyed("weekly", spec)).await.unwrap();
    assert_ne!(second.identity, first.identity);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_cannot_be_reserved_again_at_once_stays_its_jobs() {
    let cluster = Cluster::start_with_journal().await;
    let mut worker = cluster.worker("/w").await;
    let spec = cluster.word_count(1);
    let job = cluster.submit(spec.clone()).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    worker.next_reduce_with_outputs().await;
    let returning = worker.returning(&[map], &[]);
    // A folder in place of the file with which the next coordinator replaces the lock.
    let temporary = cluster.output().join("_temporary");
    let staging = std::path::Path::new(&worker.contexts[&job].staging).file_name().unwrap();
    let unique = staging.to_str().unwrap().strip_prefix("attempts-").unwrap();
    let obstacle = temporary.join(format!("lock.{unique}.2"));
    fs::create_dir_all(obstacle.join("full")).unwrap();
    cluster.serving.abort();
    let (cluster, _former) = cluster.take_over().await;
    // Only now: otherwise the first coordinator would journal that the worker has left.
    drop(worker);
    // By its own path, and through a link.
    let alias = cluster.dir.path().join("alias");
    std::os::unix::fs::symlink(cluster.output(), &alias).unwrap();
    let by_alias = v1::JobSpec { output: alias.display().to_string(), ..spec.clone() };
    for other in [spec, by_alias] {
        let refused = cluster.submit(other).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        for part in ["job-1", "not over", "choose another folder"] {
            assert!(refused.message().contains(part), "{}", refused.message());
        }
    }

    let lock = fs::read_to_string(temporary.join("lock")).unwrap();
    assert!(lock.contains("\"epoch\": 1"), "the lock was replaced after all: {lock}");
    fs::remove_dir_all(obstacle).unwrap();
    let mut back = cluster.come_back("/w", returning).await;
    let reduce = back.next_reduce_with_outputs().await;
    back.finish_reduce(&reduce, "a\t2\n").await;
    assert_eq!(cluster.final_status(job).await.state(), JobState::Succeeded);
    assert_eq!(cluster.output_names().unwrap(), ["_SUCCESS", "part-00000"]);
}
