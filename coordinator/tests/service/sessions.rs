//! How sessions begin and end.

use std::time::Duration;

use tonic::Code;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::worker_message::Message as FromWorker;

use crate::support::{Cluster, build, hello, numbered};

#[tokio::test(start_paused = true)]
async fn workers_of_another_protocol_are_refused_by_name_of_both_and_those_of_another_build_are_not()
 {
    let cluster = Cluster::start().await;
    let theirs =
        v1::Build { protocol_min: 98, protocol_version: 99, version: "9.9.9".into(), ..build() };
    let refused = v1::Hello { build: Some(theirs), ..hello("/w") };
    let status = cluster.open(refused).await.err().expect("admitted");
    assert_eq!(status.code(), Code::FailedPrecondition);
    for name in ["protocols 98 to 99", "windrow 9.9.9", "windrow 0.1.0"] {
        assert!(status.message().contains(name), "{}", status.message());
    }
    assert!(cluster.workers().await.is_empty());
    let other = v1::Build { digest: "feedfeedfeedfeed".into(), version: "0.1.1".into(), ..build() };
    let _worker = cluster.open(v1::Hello { build: Some(other), ..hello("/w") }).await.unwrap();
    assert_eq!(cluster.workers().await.len(), 1);
    // With a build that also speaks newer protocols, the highest common protocol is used.
    let newer = v1::Build { protocol_version: 99, ..build() };
    let newer = cluster.open(v1::Hello { build: Some(newer), ..hello("/newer") }).await.unwrap();
    assert_eq!(newer.welcome.protocol, build().protocol_version);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_an_unknown_kind_is_ignored() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    for sequence in 1..=3 {
        worker.say_unknown().await;
        worker.say(FromWorker::Heartbeat(v1::Heartbeat { running: vec![], sequence })).await;
        let FromCoordinator::HeartbeatAck(ack) = worker.next_of_all().await else { panic!() };
        assert_eq!(ack.sequence, sequence);
    }
    assert_eq!(cluster.workers().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_worker_in_the_same_folder_is_refused() {
    let cluster = Cluster::start().await;
    let _first = cluster.worker("/w").await;
    let second = v1::Hello { instance: "another process".into(), ..hello("/w") };
    let status = cluster.open(second).await.err().expect("admitted");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("worker in /w"), "{}", status.message());
    assert_eq!(cluster.workers().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_worker_is_refused_until_its_predecessor_is_lost() {
    let cluster = Cluster::start().await;
    let first = cluster.worker("/w").await;
    let second = v1::Hello { instance: "its successor".into(), ..hello("/w") };
    let (second, ()) = tokio::join!(cluster.open(second), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(first);
    });
    let _second = second.unwrap();
    cluster.wait_for_workers(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_returning_worker_replaces_its_old_session() {
    let cluster = Cluster::start().await;
    let mut old = cluster.worker("/w").await;
    let new = cluster.worker("/w").await;
    assert_ne!(new.welcome.worker, old.welcome.worker);
    old.end().await.unwrap();
    assert_eq!(cluster.workers().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_lost_as_soon_as_its_session_ends() {
    let cluster = Cluster::start().await;
    let mut first = cluster.worker("/first").await;
    cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = first.next_map().await;
    let mut second = cluster.worker("/second").await;
    let before = tokio::time::Instant::now();
    drop(first);
    let again = second.next_map().await;
    assert!(before.elapsed() < Duration::from_secs(2), "only the end of the lease was noticed");
    assert_eq!(again.ranges, map.ranges);
    assert_eq!(again.attempt.unwrap().attempt, 2);
    assert_eq!(cluster.workers().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_lost_when_its_lease_runs_out() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    assert!(worker.welcome.heartbeat_ms * 2 < worker.welcome.lease_ms);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(worker.welcome.heartbeat_ms)).await;
        worker.say(FromWorker::Heartbeat(v1::Heartbeat::default())).await;
    }
    assert_eq!(cluster.workers().await.len(), 1);
    let status = worker.end().await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(cluster.workers().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_sends_invalid_messages_is_lost() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    worker.say(FromWorker::MapDone(v1::MapDone::default())).await;
    worker.end().await.unwrap();
    cluster.wait_for_workers(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_keeps_its_work_when_its_connection_breaks() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    worker.next_reduce_with_outputs().await;
    // The worker has not received the reduce assignment.
    let mut back = cluster.come_back("/w", worker.returning(&[map], &[])).await;
    assert!(back.welcome.returned);
    assert_eq!(back.welcome.worker, worker.welcome.worker);
    let reduce = back.next_reduce_with_outputs().await;
    assert_eq!(reduce.attempt.unwrap().attempt, 1, "nothing was lost, so nothing is redone");
    // The end of the old session does not affect the new one.
    drop(worker);
    cluster.wait_for_workers(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_another_process_or_cluster_starts_anew() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("/w").await;
    let returning = worker.returning(&[], &[]);
    let elsewhere = v1::Return { cluster: "another".into(), ..returning.clone() };
    let back = cluster.come_back("/w", elsewhere).await;
    assert!(!back.welcome.returned);
    assert_ne!(back.welcome.worker, worker.welcome.worker);
    drop((worker, back));
    cluster.wait_for_workers(0).await;
    let late = cluster.come_back("/w", returning).await;
    assert!(!late.welcome.returned, "it had left");
}

#[tokio::test(start_paused = true)]
async fn reports_and_heartbeats_are_answered() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;
    worker.say(FromWorker::Heartbeat(v1::Heartbeat { running: vec![], sequence: 7 })).await;
    let FromCoordinator::HeartbeatAck(ack) = worker.next_of_all().await else { panic!("no ack") };
    assert_eq!(ack.sequence, 7);
    for _ in 0..2 {
        worker.finish_map(&map).await;
        assert_eq!(worker.next_noted().await, v1::Noted { attempt: map.attempt, won: true });
    }
    let never_asked_for = v1::AttemptId { attempt: 9, ..map.attempt.unwrap() };
    worker.finish_map(&v1::AssignMap { attempt: Some(never_asked_for), ..map }).await;
    assert!(!worker.next_noted().await.won);
}

#[tokio::test(start_paused = true)]
async fn a_draining_worker_finishes_and_may_leave() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("/w").await;
    cluster.submit(cluster.word_count(1)).await.unwrap();
    let map = worker.next_map().await;
    worker.say(FromWorker::Draining(v1::Draining {})).await;
    let failure =
        v1::Failure { cause: Some(v1::failure::Cause::Cancelled(v1::failure::Cancelled {})) };
    let failed = v1::AttemptFailed { attempt: map.attempt, failure: Some(failure) };
    worker.say(FromWorker::AttemptFailed(failed)).await;
    assert!(matches!(worker.next().await, FromCoordinator::Drained(_)));
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_many_slots_gets_all_assignments_at_once() {
    const SLOTS: u32 = 4_096;
    let cluster = Cluster::start().await;
    let many = v1::Hello { reduce_slots: SLOTS, ..hello("/w") };
    let mut worker = cluster.open(many).await.unwrap();
    let job = cluster.submit(cluster.word_count(SLOTS)).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    // The worker reads nothing until all have been assigned.
    let assigned = async {
        loop {
            let get = v1::GetRequest { job: numbered(job) };
            let status = cluster.jobs.clone().get(get).await.unwrap().into_inner();
            if status.reduce.unwrap().running == SLOTS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), assigned).await.expect("assignments");
    worker.next_reduce_with_outputs().await;
    for _ in 1..SLOTS {
        worker.next_reduce().await;
    }
    assert_eq!(cluster.workers().await.len(), 1);
}
