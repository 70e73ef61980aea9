//! A worker whose lease has expired.

use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use windrow_jobs::StageId;
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message as FromCoordinator;
use windrow_proto::v1::fetch_message::Message as Fetched;
use windrow_proto::v1::shuffle_client::ShuffleClient;
use windrow_proto::v1::worker_message::Message as FromWorker;

use crate::support::{Fixture, JOB, attempt_id, welcome};

/// The first message of a fetch from this worker.
async fn fetch(address: &str, cluster: &str) -> Result<Fetched, Status> {
    let address = address.to_string();
    let connect = tower::service_fn(move |_| {
        let address = address.clone();
        async move {
            let mut connection = TcpStream::connect(address).await?;
            let greeting = format!("windrow-shuffle/2 job {JOB}\n");
            connection.write_all(greeting.as_bytes()).await?;
            Ok::<_, std::io::Error>(TokioIo::new(connection))
        }
    });
    let worker = Endpoint::from_static("http://worker").connect_with_connector(connect).await;
    let mut client = ShuffleClient::new(worker.unwrap());
    let request = v1::FetchRequest {
        worker: 1,
        job: JOB.to_bytes().to_vec().into(),
        partition: 0,
        outputs: vec![v1::MapOutput { task: 0, attempt: 1 }],
        cluster: cluster.to_string(),
        credit_bytes: 1 << 20,
        ..Default::default()
    };
    let call = v1::FetchCall { message: Some(v1::fetch_call::Message::Request(request)) };
    let message = client.fetch(tokio_stream::once(call)).await?.into_inner().message().await?;
    Ok(message.unwrap().message.unwrap())
}

#[tokio::test]
async fn a_worker_without_a_lease_neither_reports_nor_serves_and_then_goes_on() {
    let mut fixture = Fixture::start();
    let job = fixture.job("gated", "a\n");
    fixture.gate.open();
    let mut session = fixture.session().await;
    session.welcome(1).await;
    session.say(job.map(1)).await;
    assert!(matches!(session.next_report().await, Some(FromWorker::MapDone(_))));
    session.note(attempt_id(StageId::MAP, 1), true).await;
    let address = session.hello.shuffle_address.clone();
    assert!(matches!(fetch(&address, "c").await, Ok(Fetched::Block(_))));
    let refused = fetch(&address, "another").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    fixture.gate.close();
    session.say(job.map(2)).await;
    fixture.heartbeat_names(&mut session, 1).await;
    drop(session);

    // The lease is so short that it has expired when the worker returns: no heartbeat is
    // acknowledged.
    let session = fixture.session().await;
    let short = v1::Welcome { lease_ms: 30, returned: true, ..welcome(1) };
    session.say(FromCoordinator::Welcome(short)).await;
    let mut next = fixture.session().await;
    let refused = fetch(&address, "c").await.unwrap_err();
    assert_eq!((refused.code(), refused.details()), (Code::Unavailable, &b"lease"[..]));

    // The attempt continues, and is reported to the coordinator that renews the lease.
    assert_eq!(next.hello.r#return.as_ref().unwrap().running.len(), 1);
    fixture.gate.open();
    next.welcome_back().await;
    assert!(matches!(next.next_report().await, Some(FromWorker::MapDone(_))));
    assert!(matches!(fetch(&address, "c").await, Ok(Fetched::Block(_))));
}
