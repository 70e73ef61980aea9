//! The answering side: reads the request and the credit that follows, and frames messages for the
//! transport.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use prost::{Message as _, encode_length_delimiter, length_delimiter_len};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use windrow_jobs::JobIdentity;
use windrow_proto::v1::fetch_call::Message as Call;
use windrow_proto::v1::fetch_message::Message;
use windrow_proto::v1::{FetchCall, FetchMessage, FetchRequest};
use windrow_security::access::Caller;

use super::messages::Messages;
use super::{PATH, PREFIX_BYTES, SERVICE};
use crate::shuffle::ShuffleService;

/// Most bytes of a request, far above the size of a request for the most outputs.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Tag of `FetchMessage.block`: field 1, length-delimited.
const BLOCK_TAG: u8 = 1 << 3 | 2;

/// Most bytes between a prefix and a block: the tag, and a length of ten digits.
const BLOCK_HEAD_BYTES: usize = 11;

/// Answers fetches. Clones share the service.
#[derive(Clone)]
pub(crate) struct FetchServer(ShuffleService);

impl FetchServer {
    /// Serves what `service` gives.
    pub(crate) fn new(service: ShuffleService) -> Self {
        Self(service)
    }
}

impl NamedService for FetchServer {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for FetchServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.0.clone();
        let caller = request.extensions().get::<Caller>().cloned();
        Box::pin(async move {
            let messages = match request_from(request).await {
                Ok((request, credits)) => check_job(caller.as_ref(), &request)
                    .and_then(|()| service.fetch(request, credits)),
                Err(status) => Err(status),
            };
            Ok(messages.map_or_else(Status::into_http, response))
        })
    }
}

/// Refuses a caller that asks for the outputs of another job than its certificate names: even in a
/// process that runs several jobs, a connection is for one of them.
fn check_job(caller: Option<&Caller>, request: &FetchRequest) -> Result<(), Status> {
    // In an open cluster, there are no certificates.
    let Some(own) = caller.and_then(Caller::identity) else { return Ok(()) };
    let asked = JobIdentity::from_bytes(&request.job);
    match asked.is_some_and(|job| own.name() == job.to_string()) {
        true => Ok(()),
        false => {
            Err(Status::permission_denied("the outputs of a job are only for its own processes"))
        }
    }
}

/// The credit that follows a request.
pub(crate) struct Credits(Messages<FetchCall>);

impl Credits {
    /// No credit at all.
    pub(crate) fn none() -> Self {
        Self(Messages::of(Body::empty(), 0))
    }

    /// Credit for so many bytes more; `None` when the caller sends no more messages, or an invalid
    /// one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<u64> {
        match self.0.next().await {
            Ok(Some(FetchCall { message: Some(Call::Credit(credit)) })) => Some(credit.bytes),
            _ => None,
        }
    }
}

/// The request at the beginning of a call, and the credit after it.
pub(crate) async fn request_from(
    request: http::Request<Body>,
) -> Result<(FetchRequest, Credits), Status> {
    if request.uri().path() != PATH {
        return Err(Status::unimplemented("no such method"));
    }
    let mut calls = Messages::<FetchCall>::of(request.into_body(), REQUEST_BYTES_MAX);
    match calls.next().await? {
        Some(FetchCall { message: Some(Call::Request(request)) }) => Ok((request, Credits(calls))),
        _ => Err(Status::invalid_argument("a call must begin with a request")),
    }
}

fn response(messages: mpsc::Receiver<Message>) -> http::Response<Body> {
    let answer = Answer { messages, block: None, is_done: false };
    let mut response = http::Response::new(Body::new(answer));
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}

/// The body of an answer.
struct Answer {
    messages: mpsc::Receiver<Message>,
    /// The block of the message that has been begun.
    block: Option<Bytes>,
    is_done: bool,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(block) = this.block.take() {
            return Poll::Ready(Some(Ok(Frame::data(block))));
        }
        if this.is_done {
            return Poll::Ready(None);
        }
        let frame = match ready!(this.messages.poll_recv(context)) {
            Some(message) => {
                let (head, block) = framed(message);
                this.block = block;
                Frame::data(head)
            }
            None => {
                this.is_done = true;
                let ok = http::HeaderValue::from_static("0");
                Frame::trailers(
                    [(http::HeaderName::from_static("grpc-status"), ok)].into_iter().collect(),
                )
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

/// A message as it is sent: its beginning, and the block at its end, if it has one.
fn framed(message: Message) -> (Bytes, Option<Bytes>) {
    let mut head = BytesMut::with_capacity(PREFIX_BYTES + BLOCK_HEAD_BYTES);
    head.put_u8(0);
    match message {
        Message::Block(block) => {
            let bytes = 1 + length_delimiter_len(block.len()) + block.len();
            head.put_u32(bytes as u32);
            head.put_u8(BLOCK_TAG);
            // Fails only for want of room, and this buffer grows.
            let _ = encode_length_delimiter(block.len(), &mut head);
            (head.freeze(), Some(block))
        }
        other => {
            let message = FetchMessage { message: Some(other) }.encode_to_vec();
            head.put_u32(message.len() as u32);
            head.put_slice(&message);
            (head.freeze(), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use windrow_proto::v1::{FetchEnd, FetchError, FetchWaiting};

    use super::*;

    fn messages() -> impl Strategy<Value = Message> {
        let text = vec(proptest::char::any(), 0..300).prop_map(String::from_iter);
        prop_oneof![
            vec(any::<u8>(), 0..20_000).prop_map(|bytes| Message::Block(bytes.into())),
            (any::<u64>(), any::<u64>())
                .prop_map(|(records, digest)| Message::End(FetchEnd { records, digest })),
            (any::<u32>(), any::<u32>(), text).prop_map(|(map_task, map_attempt, message)| {
                let is_shortage = map_task % 2 == 0;
                Message::Error(FetchError { map_task, map_attempt, message, is_shortage })
            }),
            Just(Message::Waiting(FetchWaiting {})),
        ]
    }

    proptest! {
        #[test]
        fn messages_are_framed_like_generated_ones(message in messages()) {
            let encoded = FetchMessage { message: Some(message.clone()) }.encode_to_vec();
            let (head, block) = framed(message);
            let sent = [head, block.unwrap_or_default()].concat();
            prop_assert_eq!(&sent[..PREFIX_BYTES], &[&[0], &(encoded.len() as u32).to_be_bytes()[..]].concat()[..]);
            prop_assert_eq!(&sent[PREFIX_BYTES..], &encoded[..]);
        }
    }
}
