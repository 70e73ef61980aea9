//! The caller's side: sends the request and credit, and parses messages from the received bytes.

use std::convert::Infallible;
use std::future::poll_fn;

use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::Channel;
use windrow_proto::v1::fetch_call::Message as Call;
use windrow_proto::v1::{FetchCall, FetchCredit, FetchMessage, FetchRequest};

use super::PATH;
use super::messages::{Messages, check, framed};
use crate::shuffle::serve::MESSAGE_BYTES_MAX;

/// A fetch: a stream of messages, and the channel for credit.
pub(crate) struct FetchStream {
    answer: Messages<FetchMessage>,
    calls: mpsc::UnboundedSender<FetchCall>,
}

impl FetchStream {
    /// Sends the request and waits until it is accepted or refused.
    pub(crate) async fn open(mut channel: Channel, request: FetchRequest) -> Result<Self, Status> {
        let failed = |error: tonic::transport::Error| Status::from_error(error.into());
        poll_fn(|context| channel.poll_ready(context)).await.map_err(failed)?;
        let (calls, body) = mpsc::unbounded_channel();
        // Its receiver is in this function.
        let _ = calls.send(FetchCall { message: Some(Call::Request(request)) });
        let answer = channel.call(http_request(body)?).await.map_err(failed)?;
        let (head, body) = answer.into_parts();
        check(&head.headers)?;
        if head.status != http::StatusCode::OK {
            return Err(Status::unknown(format!("the answer is HTTP status {}", head.status)));
        }
        Ok(Self { answer: Messages::of(body, MESSAGE_BYTES_MAX), calls })
    }

    /// The messages in `body`, of a fetch whose sender takes no credit.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of(body: Body) -> Self {
        let (calls, _) = mpsc::unbounded_channel();
        Self { answer: Messages::of(body, MESSAGE_BYTES_MAX), calls }
    }

    /// The next message; `None` at the end of the stream. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<FetchMessage>, Status> {
        self.answer.next().await
    }

    /// Gives the sender credit for so many bytes more.
    pub(crate) fn give_credit(&self, bytes: u64) {
        // If the transport has dropped the request, the next message is an error.
        let _ = self.calls.send(FetchCall { message: Some(Call::Credit(FetchCredit { bytes })) });
    }
}

fn http_request(calls: mpsc::UnboundedReceiver<FetchCall>) -> Result<http::Request<Body>, Status> {
    let frames = UnboundedReceiverStream::new(calls)
        .map(|call| Ok::<_, Infallible>(Frame::data(framed(&call))));
    http::Request::post(PATH)
        .version(http::Version::HTTP_2)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .body(Body::new(StreamBody::new(frames)))
        .map_err(|error| Status::internal(error.to_string()))
}
