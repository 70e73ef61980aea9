//! How a worker gets to its coordinator, and what it does when it loses it.

use tonic::Status;
use windrow_proto::v1::worker_message::Message as FromWorker;
use windrow_worker::WorkerError;

use crate::support::{Fixture, build};

#[tokio::test]
async fn a_worker_says_who_it_is_and_keeps_speaking() {
    let mut fixture = Fixture::start();
    let mut session = fixture.session().await;
    assert_eq!(session.hello.build, Some(build()));
    assert_eq!((session.hello.threads, session.hello.memory_bytes), (2, 64 << 20));
    assert_eq!((session.hello.map_slots, session.hello.reduce_slots), (2, 2));
    assert!(
        session.hello.directory.ends_with("/worker") && session.hello.directory.starts_with('/')
    );
    session.welcome(1).await;
    for _ in 0..3 {
        assert!(matches!(session.next().await, Some(FromWorker::Heartbeat(_))));
    }
}

#[tokio::test]
async fn a_worker_that_is_refused_ends_and_says_why() {
    let mut fixture = Fixture::start();
    fixture.session().await.refuse(Status::failed_precondition("another build")).await;
    let error = fixture.ended().await.unwrap_err();
    assert!(matches!(error, WorkerError::Refused { .. }));
    assert_eq!(error.to_string(), "the coordinator scripted refuses this worker: another build");
}

#[tokio::test]
async fn a_worker_keeps_trying_while_nobody_answers() {
    let mut fixture = Fixture::start_with_failures(3);
    fixture.session().await.welcome(1).await;
}

#[tokio::test]
async fn a_worker_that_loses_its_session_drops_its_data_and_comes_back() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a b a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.map(1)).await;
    assert!(matches!(session.next_report().await, Some(FromWorker::MapDone(_))));
    assert_eq!(fixture.job_folders(), 1);
    let instance = session.hello.instance.clone();
    drop(session);

    let mut session = fixture.session().await;
    assert_eq!(session.hello.instance, instance);
    assert_eq!(fixture.job_folders(), 0);
    session.welcome(2).await;
    session.say(job.map(2)).await;
    assert!(matches!(session.next_report().await, Some(FromWorker::MapDone(_))));
}

#[tokio::test]
async fn a_folder_serves_one_worker() {
    let mut first = Fixture::start();
    first.session().await.welcome(1).await;
    let config = windrow_worker::WorkerConfig::embedded(first.dir.path().join("worker"));
    let connector = windrow_worker::Connector::url("http://127.0.0.1:1").unwrap();
    let token = tokio_util::sync::CancellationToken::new;
    let error =
        windrow_worker::run(config, Default::default(), build(), connector, token(), token())
            .await
            .unwrap_err();
    assert!(error.to_string().contains("in use by another worker"), "{error}");
}
