//! What a worker does with its orders.

use std::fs;

use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::failure::Cause;
use windrow_proto::v1::worker_message::Message as FromWorker;

use crate::support::{Fixture, attempt_id};

#[tokio::test]
async fn a_job_is_mapped_reduced_and_released() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("b a\nb\n");
    let mut session = fixture.session().await;
    session.welcome(7).await;

    session.say(job.map(1)).await;
    let Some(FromWorker::MapDone(map)) = session.next_report().await else { panic!("map failed") };
    assert_eq!(map.attempt, attempt_id(v1::Stage::Map, 1));
    assert_eq!(map.part, None);
    let stats = map.stats.unwrap();
    assert_eq!((stats.input_records, stats.input_bytes), (2, 6));

    session.say(job.outputs(7, 1)).await;
    session.say(job.reduce(1)).await;
    let Some(FromWorker::ReduceDone(reduce)) = session.next_report().await else {
        panic!("reduce failed")
    };
    let part = reduce.part.unwrap();
    let path = job.staging.join("part-00000.1");
    assert_eq!(part.path, path.display().to_string());
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\t1\nb\t2\n");
    assert_eq!((part.bytes, part.records), (8, 2));

    session.note(attempt_id(v1::Stage::Reduce, 1), true).await;
    session.say(FromCoordinator::ReleaseJob(v1::ReleaseJob { job: 1 })).await;
    // The folder goes last; until then, heartbeats are what time goes by.
    while fixture.job_folders() > 0 {
        session.next().await;
    }
    // Nothing is left in memory either.
    session.say(job.outputs(7, 2)).await;
    session.say(job.reduce(2)).await;
    let Some(FromWorker::AttemptFailed(failed)) = session.next_report().await else {
        panic!("it did not fail")
    };
    assert!(matches!(failed.failure.unwrap().cause, Some(Cause::FetchFailed(_))));
}

#[tokio::test]
async fn failures_are_reported_with_their_cause() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    let FromCoordinator::AssignMap(mut assign) = job.map(1) else { unreachable!() };
    assign.ranges[0].file_bytes += 1;
    session.say(FromCoordinator::AssignMap(assign)).await;
    let Some(FromWorker::AttemptFailed(failed)) = session.next_report().await else {
        panic!("it did not fail")
    };
    assert_eq!(failed.attempt, attempt_id(v1::Stage::Map, 1));
    assert!(matches!(failed.failure.unwrap().cause, Some(Cause::InputChanged(_))));
}

#[tokio::test]
async fn a_reduce_without_its_outputs_ends_the_session() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.outputs(1, 1)).await;
    session.say(job.reduce(2)).await;
    // Nothing is lost by it but the call.
    let mut next = fixture.session().await;
    next.welcome_back().await;
    assert!(session.next_report().await.is_none());
    assert!(matches!(next.next().await, Some(FromWorker::Heartbeat(_))));
}
