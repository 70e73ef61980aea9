//! How a worker leaves.

use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::worker_message::Message as FromWorker;

use crate::support::Fixture;

#[tokio::test]
async fn a_draining_worker_finishes_its_attempts_and_leaves_when_drained() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    fixture.drain.cancel();
    assert!(matches!(session.next_report().await, Some(FromWorker::Draining(_))));
    // The output may still be needed, by a reducer of its own, say.
    session.say(job.map(1)).await;
    assert!(matches!(session.next_report().await, Some(FromWorker::MapDone(_))));
    session.say(FromCoordinator::Drained(v1::Drained {})).await;
    assert!(session.next_report().await.is_none());
    fixture.ended().await.unwrap();
    assert_eq!(fixture.job_folders(), 0);
}

#[tokio::test]
async fn a_killed_worker_leaves_at_once() {
    let mut fixture = Fixture::start();
    let mut session = fixture.session().await;
    session.welcome(1).await;
    fixture.kill.cancel();
    assert!(session.next_report().await.is_none());
    fixture.ended().await.unwrap();
}

#[tokio::test]
async fn a_worker_without_a_session_leaves_when_asked() {
    let mut fixture = Fixture::start();
    let session = fixture.session().await; // Never welcomed.
    fixture.drain.cancel();
    fixture.ended().await.unwrap();
    drop(session);
}
