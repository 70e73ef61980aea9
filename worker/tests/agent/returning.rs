//! A worker's work and reports when its connection breaks.

use windrow_jobs::StageId;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::worker_message::Message as FromWorker;

use crate::support::{Fixture, Session, attempt_id, packed};

/// The attempt of the next report of success.
async fn next_done(session: &mut Session) -> Option<v1::AttemptId> {
    match session.next_report().await {
        Some(FromWorker::MapDone(done)) => done.attempt,
        Some(FromWorker::ReduceDone(done)) => done.attempt,
        other => panic!("unexpected: {other:?}"),
    }
}

#[tokio::test]
async fn an_attempt_continues_while_the_connection_is_broken_and_is_reported_once() {
    let mut fixture = Fixture::start();
    let job = fixture.job("gated", "a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.map(1)).await;
    fixture.heartbeat_names(&mut session, 1).await;
    let instance = session.hello.instance.clone();
    drop(session);

    let mut session = fixture.session().await;
    assert_eq!(session.hello.instance, instance);
    let back = session.hello.r#return.clone().unwrap();
    assert_eq!((back.worker, back.cluster.as_str(), back.epoch), (1, "c", 5));
    assert_eq!(back.running, packed([attempt_id(StageId::MAP, 1)]));
    assert!(back.unanswered.is_empty() && back.outputs.is_empty());
    session.welcome_back().await;
    // The order may be repeated, too.
    session.say(job.map(1)).await;
    fixture.gate.open();
    assert_eq!(next_done(&mut session).await, attempt_id(StageId::MAP, 1));
    session.note(attempt_id(StageId::MAP, 1), true).await;

    // The output is still held, and nothing was reported twice.
    session.say(job.outputs(1, 1)).await;
    session.say(job.reduce(1)).await;
    assert_eq!(next_done(&mut session).await, attempt_id(StageId::REDUCE, 1));
}

#[tokio::test]
async fn a_report_is_repeated_until_it_is_noted() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.map(1)).await;
    assert_eq!(next_done(&mut session).await, attempt_id(StageId::MAP, 1));
    for _ in 0..2 {
        drop(session);
        session = fixture.session().await;
        let back = session.hello.r#return.clone().unwrap();
        let attempt = packed([attempt_id(StageId::MAP, 1)]);
        assert_eq!((&back.unanswered[..], &back.outputs[..]), (&attempt[..], &attempt[..]));
        session.welcome_back().await;
        // Repeating the order of a finished but unnoted attempt changes nothing.
        session.say(job.map(1)).await;
        assert_eq!(next_done(&mut session).await, attempt_id(StageId::MAP, 1));
    }
    session.note(attempt_id(StageId::MAP, 1), true).await;
    session.note(attempt_id(StageId::MAP, 1), true).await;
    // Orders are carried out in order: once this one is, the report was noted.
    session.say(job.map(2)).await;
    assert_eq!(next_done(&mut session).await, attempt_id(StageId::MAP, 2));
    drop(session);
    let session = fixture.session().await;
    let back = session.hello.r#return.unwrap();
    assert_eq!(back.unanswered, packed([attempt_id(StageId::MAP, 2)]));
    assert_eq!(back.outputs, packed([attempt_id(StageId::MAP, 1), attempt_id(StageId::MAP, 2)]));
}

#[tokio::test]
async fn failures_are_repeated_until_they_are_noted() {
    let mut fixture = Fixture::start();
    let job = fixture.job("no such job", "a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.map(1)).await;
    assert!(matches!(session.next_report().await, Some(FromWorker::AttemptFailed(_))));
    drop(session);
    let mut session = fixture.session().await;
    session.welcome_back().await;
    let Some(FromWorker::AttemptFailed(failed)) = session.next_report().await else {
        panic!("the failure is not repeated")
    };
    assert_eq!(failed.attempt, attempt_id(StageId::MAP, 1));
}

#[tokio::test]
async fn the_output_of_a_losing_attempt_is_deleted() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.map(1)).await;
    next_done(&mut session).await;
    session.note(attempt_id(StageId::MAP, 1), true).await;
    session.say(job.outputs(1, 1)).await;
    session.say(job.reduce(1)).await;
    next_done(&mut session).await;
    assert!(job.part(1).exists());
    session.note(attempt_id(StageId::REDUCE, 1), false).await;
    fixture.until(&mut session, |_| !job.part(1).exists()).await;

    // The map output is needed first, and then not.
    session.say(job.reduce_attempt(2, 1)).await;
    assert_eq!(next_done(&mut session).await, attempt_id(StageId::REDUCE, 2));
    session
        .say(FromCoordinator::CancelAttempt(v1::CancelAttempt {
            attempt: attempt_id(StageId::MAP, 1),
        }))
        .await;
    assert_fetch_fails_from(&mut session, &job, 3).await;

    // Another attempt loses at once.
    session.say(job.map(2)).await;
    next_done(&mut session).await;
    session.note(attempt_id(StageId::MAP, 2), false).await;
    drop(session);
    let session = fixture.session().await;
    let back = session.hello.r#return.unwrap();
    assert!(back.outputs.is_empty(), "{:?}", back.outputs);
}

/// Runs reduce attempts from this number until one fails: outputs are deleted while the session
/// continues.
async fn assert_fetch_fails_from(
    session: &mut Session,
    job: &crate::support::SmallJob,
    first: u32,
) {
    for attempt in first.. {
        session.say(job.reduce_attempt(attempt, 1)).await;
        if let Some(FromWorker::AttemptFailed(_)) = session.next_report().await {
            return;
        }
    }
}

#[tokio::test]
async fn a_worker_that_returns_after_its_lease_drops_everything() {
    let mut fixture = Fixture::start();
    let job = fixture.job("gated", "a b a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    fixture.gate.open();
    session.say(job.map(1)).await;
    next_done(&mut session).await;
    session.note(attempt_id(StageId::MAP, 1), true).await;
    session.say(job.outputs(1, 1)).await;
    session.say(job.reduce(1)).await;
    next_done(&mut session).await;
    fixture.gate.close();
    session.say(job.map(2)).await;
    fixture.heartbeat_names(&mut session, 1).await;
    drop(session);

    let mut session = fixture.session().await;
    let back = session.hello.r#return.clone().unwrap();
    assert_eq!(back.running, packed([attempt_id(StageId::MAP, 2)]));
    assert_eq!(back.unanswered, packed([attempt_id(StageId::REDUCE, 1)]));
    assert_eq!(back.outputs, packed([attempt_id(StageId::MAP, 1)]));
    assert_eq!(fixture.job_folders(), 1);
    session.welcome(2).await;
    // Its earlier reports are dropped: the next one is of new work.
    fixture.gate.open();
    session.say(job.map(3)).await;
    assert_eq!(next_done(&mut session).await, attempt_id(StageId::MAP, 3));
    assert!(job.part(1).exists(), "reported, but unanswered: the part may have won");

    drop(session);
    let session = fixture.session().await;
    let back = session.hello.r#return.unwrap();
    assert_eq!(back.worker, 2);
    assert_eq!(back.outputs, packed([attempt_id(StageId::MAP, 3)]));
    assert!(back.running.is_empty() && back.unanswered == back.outputs);
}

#[tokio::test]
async fn a_draining_worker_with_outputs_returns_until_it_is_drained() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.map(1)).await;
    next_done(&mut session).await;
    fixture.drain.cancel();
    drop(session);
    let mut session = fixture.session().await;
    session.welcome_back().await;
    assert!(matches!(
        (session.next_report().await, session.next_report().await),
        (Some(FromWorker::Draining(_)), Some(FromWorker::MapDone(_)))
            | (Some(FromWorker::MapDone(_)), Some(FromWorker::Draining(_)))
    ));
    session.say(FromCoordinator::Drained(v1::Drained {})).await;
    assert!(session.next_report().await.is_none());
    fixture.ended().await.unwrap();
    assert_eq!(fixture.job_folders(), 0);
}
