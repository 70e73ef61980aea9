//! How a worker joins a coordinator, and which coordinators it accepts.

use tonic::Status;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::worker_message::Message as FromWorker;
use windrow_worker::{Connector, WorkerError};

use crate::support::{Fixture, build, welcome};

#[tokio::test]
async fn a_worker_says_who_it_is_and_keeps_speaking() {
    let mut fixture = Fixture::start();
    let mut session = fixture.session().await;
    assert_eq!(session.hello.build, Some(build()));
    assert_eq!((session.hello.threads, session.hello.memory_bytes), (2, 64 << 20));
    assert_eq!((session.hello.map_slots, session.hello.reduce_slots), (2, 2));
    assert!(
        session.hello.directory.ends_with("/worker/jobs")
            && session.hello.directory.starts_with('/')
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
async fn a_worker_retries_while_no_coordinator_answers() {
    let mut fixture = Fixture::start_with_failures(3);
    fixture.session().await.welcome(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_tries_the_next_coordinator_when_one_does_not_answer() {
    let deaf = Connector::new("deaf", std::future::pending);
    let mut fixture = Fixture::start_with(|scripted| deaf.or(&scripted), 0);
    let mut session = fixture.session().await;
    session.welcome(1).await;
}

#[tokio::test]
async fn a_worker_ends_when_all_coordinators_refuse_it() {
    let mut fixture = Fixture::start_with(|scripted| scripted.clone().or(&scripted), 0);
    fixture.session().await.refuse(Status::failed_precondition("another build")).await;
    fixture.session().await.refuse(Status::unavailable("starting")).await;
    fixture.session().await.refuse(Status::failed_precondition("another build")).await;
    fixture.session().await.refuse(Status::failed_precondition("another build")).await;
    fixture.ended().await.unwrap_err();
}

#[tokio::test]
async fn a_fenced_coordinator_is_not_obeyed() {
    let mut fixture = Fixture::start();
    let job = fixture.job("gated", "a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.map(1)).await;
    fixture.heartbeat_names(&mut session, 1).await;
    drop(session);

    // The fenced coordinator, of epoch 4, answers.
    let mut former = fixture.session().await;
    let welcome = v1::Welcome { epoch: 4, ..welcome(2) };
    former.say(FromCoordinator::Welcome(welcome)).await;
    assert!(former.next().await.is_none());

    let mut session = fixture.session().await;
    let back = session.hello.r#return.clone().unwrap();
    assert_eq!((back.worker, back.epoch, back.running.len()), (1, 5, 1));
    session.welcome_back().await;
    fixture.gate.open();
    assert!(matches!(session.next_report().await, Some(FromWorker::MapDone(_))));
}

#[tokio::test]
async fn a_second_worker_in_one_folder_is_refused() {
    let mut first = Fixture::start();
    first.session().await.welcome(1).await;
    let config = windrow_worker::WorkerConfig::embedded(first.dir.path().join("worker"));
    let connector =
        Connector::url("http://127.0.0.1:1", &windrow_security::Dialer::plain()).unwrap();
    let error =
        windrow_worker::run(config, Default::default(), build(), connector, Default::default())
            .await
            .unwrap_err();
    assert!(error.to_string().contains("in use by another worker"), "{error}");
}
