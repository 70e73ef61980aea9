//! The two sides against each other and against the generated code: the call is the same on the
//! wire.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::{Buf, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use windrow_jobs::{JobIdentity, WorkerId};
use windrow_proto::v1::fetch_call::Message as Call;
use windrow_proto::v1::fetch_message::Message;
use windrow_proto::v1::shuffle_client::ShuffleClient;
use windrow_proto::v1::{FetchCall, FetchMessage, FetchRequest, MapOutput};

use windrow_security::access::Caller;
use windrow_security::{Certified, Identity as Member, Role};

use super::byte_queue::ByteQueue;
use super::{FetchServer, FetchStream};
use crate::identity::Identity;
use crate::memory::Account;
use crate::shuffle::ShuffleService;
use crate::shuffle::store::SegmentStore;
use crate::testing::{IDENTITY, connect, leave_output};

const PAIRS: u32 = 20_000;

/// A server with one output, of several blocks in partition 3, and a request for it.
fn server(folder: &std::path::Path) -> (FetchServer, FetchRequest) {
    let store = Arc::new(SegmentStore::new(folder.into(), 0));
    let pairs: Vec<_> = (0..PAIRS).map(|n| (n.to_be_bytes().to_vec(), vec![7; 50])).collect();
    leave_output(&store, 0, 3, &pairs);
    let identity = Arc::new(Identity::default());
    let lease_ends = tokio::time::Instant::now() + std::time::Duration::from_secs(3_600);
    identity.set("", WorkerId(5), lease_ends);
    let server = FetchServer::new(ShuffleService::new(store, identity, Account::new(1 << 30)));
    let outputs = vec![MapOutput { task: 0, attempt: 1 }];
    let request = FetchRequest {
        worker: 5,
        job: IDENTITY.to_bytes().to_vec().into(),
        partition: 3,
        outputs,
        credit_bytes: 1 << 30,
        ..Default::default()
    };
    (server, request)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_client_gets_the_same_messages() {
    let folder = tempfile::tempdir().unwrap();
    let (server, request) = server(folder.path());
    let mut ours = FetchStream::open(connect(server.clone()), request.clone()).await.unwrap();
    let call = FetchCall { message: Some(Call::Request(request)) };
    let mut theirs = ShuffleClient::new(connect(server)).max_decoding_message_size(1 << 30);
    let mut theirs = theirs.fetch(tokio_stream::once(call)).await.unwrap().into_inner();
    let mut blocks = 0;
    loop {
        let (our, their) = (ours.next().await.unwrap(), theirs.message().await.unwrap());
        assert_eq!(our, their);
        match our.map(|message| message.message.unwrap()) {
            Some(Message::Block(_)) => blocks += 1,
            Some(Message::End(end)) => assert_eq!(end.records, u64::from(PAIRS)),
            Some(Message::Error(error)) => panic!("{}", error.message),
            Some(Message::Waiting(_)) => panic!("nobody else is there"),
            None => break,
        }
    }
    assert!(blocks > 10, "{blocks} blocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_code_and_message() {
    let folder = tempfile::tempdir().unwrap();
    let (server, request) = server(folder.path());
    let other = FetchRequest { worker: 6, ..request.clone() };
    let status = FetchStream::open(connect(server.clone()), other).await.err().unwrap();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("worker-6 of cluster  was meant"), "{status}");
    let outputs = vec![MapOutput { task: 1 << 30, attempt: 1 << 30 }; 10_000];
    let long = FetchRequest { outputs, ..request };
    assert!(FetchStream::open(connect(server), long).await.is_err(), "above the limit");
}

proptest! {
    #[test]
    fn pieces_read_as_the_bytes_from_which_they_were_cut(
        pieces in vec(vec(any::<u8>(), 0..9), 0..9),
        steps in vec((0usize..20, any::<bool>()), 0..20),
    ) {
        let mut expected = Bytes::from(pieces.concat());
        let mut received = ByteQueue::default();
        pieces.into_iter().for_each(|piece| received.push(piece.into()));
        for (step, is_copied) in steps {
            let step = step.min(expected.len());
            let expected_step = expected.split_to(step);
            if is_copied {
                prop_assert_eq!(received.copy_to_bytes(step), expected_step);
            } else {
                received.advance(step);
            }
            prop_assert_eq!(received.remaining(), expected.len());
            prop_assert_eq!(received.chunk().is_empty(), expected.is_empty());
        }
        prop_assert_eq!(received.copy_to_bytes(expected.len()), expected);
    }
}

#[test]
fn a_block_that_arrives_in_one_piece_is_not_copied() {
    let block = Bytes::from(vec![1; 100]);
    let message = FetchMessage { message: Some(Message::Block(block.clone())) }.encode_to_vec();
    let mut received = ByteQueue::default();
    received.push(Bytes::copy_from_slice(&message[..message.len() - block.len()]));
    received.push(block.clone());
    let taken = FetchMessage::decode((&mut received).take(message.len())).unwrap();
    let Some(Message::Block(taken)) = taken.message else { panic!("a block was sent") };
    assert_eq!(taken.as_ptr(), block.as_ptr());
}

/// Behaves like the server of a process with several jobs, called by one of them.
#[derive(Clone)]
struct AskedBy(FetchServer, Caller);

impl NamedService for AskedBy {
    const NAME: &'static str = FetchServer::NAME;
}

impl Service<http::Request<Body>> for AskedBy {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <FetchServer as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.1.clone());
        self.0.call(request)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_no_outputs_of_another_job_in_the_same_process() {
    let folder = tempfile::tempdir().unwrap();
    let (server, request) = server(folder.path());
    for (job, is_refused) in [(IDENTITY, false), (JobIdentity(IDENTITY.0 + 1), true)] {
        let certified = Certified {
            identity: Member::new("c", Role::Job, &job.to_string()).unwrap(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH,
        };
        let asked = AskedBy(server.clone(), Caller::new(Some(certified)));
        let opened = FetchStream::open(connect(asked), request.clone()).await;
        let refused = opened.err().map(|status| status.code());
        assert_eq!(refused, is_refused.then_some(tonic::Code::PermissionDenied));
    }
}
