//! The caller's side: asks, and takes messages out of what arrives.

use std::future::poll_fn;

use bytes::Buf;
use http_body_util::BodyExt;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service, http};
use tonic::transport::Channel;
use tonic::{Code, Status};
use windrow_proto::v1::{FetchMessage, FetchRequest};

use super::pieces::Pieces;
use super::{PATH, PREFIX_BYTES};
use crate::shuffle::serve::MESSAGE_BYTES_MAX;

/// The answer to a fetch: a stream of messages.
pub(crate) struct FetchStream {
    body: Body,
    received: Pieces,
    /// Length of the message whose prefix has been taken.
    message_bytes: Option<usize>,
}

impl FetchStream {
    /// Sends the request and waits until it is accepted or refused.
    pub(crate) async fn open(mut channel: Channel, request: &FetchRequest) -> Result<Self, Status> {
        let failed = |error: tonic::transport::Error| Status::from_error(error.into());
        poll_fn(|context| channel.poll_ready(context)).await.map_err(failed)?;
        let answer = channel.call(http_request(request)?).await.map_err(failed)?;
        let (head, body) = answer.into_parts();
        check(&head.headers)?;
        if head.status != http::StatusCode::OK {
            return Err(Status::unknown(format!("the answer is HTTP status {}", head.status)));
        }
        Ok(Self::of(body))
    }

    /// What `body` brings.
    pub(crate) fn of(body: Body) -> Self {
        Self { body, received: Pieces::default(), message_bytes: None }
    }

    /// The next message; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<FetchMessage>, Status> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await.transpose()? else { break };
            match frame.into_data() {
                Ok(data) => self.received.push(data),
                Err(frame) => frame.trailers_ref().map_or(Ok(()), check)?,
            }
        }
        if self.received.has_remaining() || self.message_bytes.is_some() {
            return Err(Status::data_loss("a message was cut short"));
        }
        Ok(None)
    }

    /// The first message of what has been received, once all of it is there.
    fn take_message(&mut self) -> Result<Option<FetchMessage>, Status> {
        let bytes = match self.message_bytes {
            Some(bytes) => bytes,
            None if self.received.remaining() < PREFIX_BYTES => return Ok(None),
            None => *self.message_bytes.insert(prefix(&mut self.received)?),
        };
        if self.received.remaining() < bytes {
            return Ok(None);
        }
        self.message_bytes = None;
        FetchMessage::decode((&mut self.received).take(bytes))
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

fn http_request(request: &FetchRequest) -> Result<http::Request<Body>, Status> {
    let message = request.encode_to_vec();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + message.len());
    bytes.push(0);
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&message);
    http::Request::post(PATH)
        .version(http::Version::HTTP_2)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .body(Body::new(http_body_util::Full::new(Bytes::from(bytes))))
        .map_err(|error| Status::internal(error.to_string()))
}

/// Takes a prefix, which is there, and returns the length of its message.
fn prefix(received: &mut Pieces) -> Result<usize, Status> {
    let is_compressed = received.get_u8() != 0;
    let bytes = received.get_u32() as usize;
    if is_compressed {
        return Err(Status::internal("a message is compressed, which was not asked for"));
    }
    if bytes > MESSAGE_BYTES_MAX {
        return Err(Status::out_of_range(format!(
            "a message has {bytes} bytes, and {MESSAGE_BYTES_MAX} is the most"
        )));
    }
    Ok(bytes)
}

/// An error if these headers or trailers tell of one.
fn check(headers: &http::HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}
