//! How a worker carries out its orders.

use std::fs;

use windrow_jobs::StageId;
use windrow_proto::fragments::Packed;
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
    assert_eq!(map.attempt, attempt_id(StageId::MAP, 1));
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
    assert_eq!(part.location, path.display().to_string());
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\t1\nb\t2\n");
    assert_eq!((part.bytes, part.records), (8, 2));

    session.note(attempt_id(StageId::REDUCE, 1), true).await;
    session.say(FromCoordinator::ReleaseJob(v1::ReleaseJob { job: 1, ticket: 5 })).await;
    let released = v1::JobReleased { job: 1, ticket: 5 };
    assert_eq!(session.next_report().await, Some(FromWorker::JobReleased(released)));
    // The folder is removed last; heartbeats pass the time until then.
    while fixture.job_folders() > 0 {
        session.next().await;
    }
    // Nothing is left in memory, either.
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
    let [context, FromCoordinator::AssignMap(mut assign)] = job.map(1) else { unreachable!() };
    assign.ranges[0].file_bytes += 1;
    session.say([context, FromCoordinator::AssignMap(assign)]).await;
    let Some(FromWorker::AttemptFailed(failed)) = session.next_report().await else {
        panic!("it did not fail")
    };
    assert_eq!(failed.attempt, attempt_id(StageId::MAP, 1));
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
    // Only the call is lost.
    let mut next = fixture.session().await;
    next.welcome_back().await;
    assert!(session.next_report().await.is_none());
    assert!(matches!(next.next().await, Some(FromWorker::Heartbeat(_))));
}

#[tokio::test]
async fn other_orders_may_come_between_fragments_and_unknown_ones_are_ignored() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    let [context, assign] = job.map(1);
    let packed = Packed::of(&v1::CoordinatorMessage { message: Some(context) });
    let whole = packed.fragments().next().unwrap();
    let (start, end) = (whole.data.slice(..9), whole.data.slice(9..));
    session.say(FromCoordinator::Fragment(v1::Fragment { data: start, ..whole })).await;
    session.say_unknown().await;
    session.note(attempt_id(StageId::MAP, 9), true).await;
    let rest = v1::Fragment { data: end, ..v1::Fragment::default() };
    session.say([FromCoordinator::Fragment(rest), assign]).await;
    let Some(FromWorker::MapDone(done)) = session.next_report().await else { panic!("it failed") };
    assert_eq!(done.attempt, attempt_id(StageId::MAP, 1));
}

#[tokio::test]
async fn an_attempt_before_its_jobs_context_ends_the_session() {
    let mut fixture = Fixture::start();
    let job = fixture.word_count("a\n");
    let mut session = fixture.session().await;
    session.welcome(1).await;
    let [_, assign] = job.map(1);
    session.say(assign).await;
    let next = fixture.session().await;
    next.welcome_back().await;
    assert!(session.next_report().await.is_none());
}
