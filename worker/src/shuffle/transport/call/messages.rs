//! Parses gRPC messages from a body, on either side.

use std::marker::PhantomData;

use bytes::Buf;
use http_body_util::BodyExt;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::{Bytes, http};
use tonic::{Code, Status};

use super::PREFIX_BYTES;
use super::byte_queue::ByteQueue;

/// Parses messages of one kind from a body as it arrives.
pub(super) struct Messages<M> {
    body: Body,
    received: ByteQueue,
    /// Length of the message whose prefix has been read.
    message_bytes: Option<usize>,
    /// A longer message is refused before any of it is kept.
    message_bytes_max: usize,
    _of: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Messages<M> {
    /// The messages in `body`, of at most so many bytes each.
    pub(super) fn of(body: Body, message_bytes_max: usize) -> Self {
        let received = ByteQueue::default();
        Self { body, received, message_bytes: None, message_bytes_max, _of: PhantomData }
    }

    /// The next message; `None` at the end of the body. Cancel safe: received bytes are kept.
    pub(super) async fn next(&mut self) -> Result<Option<M>, Status> {
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

    /// The first message in the received bytes, once it is complete.
    fn take_message(&mut self) -> Result<Option<M>, Status> {
        let bytes = match self.message_bytes {
            Some(bytes) => bytes,
            None if self.received.remaining() < PREFIX_BYTES => return Ok(None),
            None => self.prefix()?,
        };
        if self.received.remaining() < bytes {
            self.message_bytes = Some(bytes);
            return Ok(None);
        }
        self.message_bytes = None;
        M::decode((&mut self.received).take(bytes))
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }

    /// Takes a complete prefix, and returns the length of its message.
    fn prefix(&mut self) -> Result<usize, Status> {
        let is_compressed = self.received.get_u8() != 0;
        let bytes = self.received.get_u32() as usize;
        if is_compressed {
            return Err(Status::internal("a message is compressed, which was not requested"));
        }
        if bytes > self.message_bytes_max {
            return Err(Status::out_of_range(format!(
                "a message has {bytes} bytes, more than {}",
                self.message_bytes_max
            )));
        }
        Ok(bytes)
    }
}

/// A message with its prefix.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let message_bytes = message.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + message_bytes);
    bytes.push(0);
    bytes.extend_from_slice(&(message_bytes as u32).to_be_bytes());
    message.encode_raw(&mut bytes);
    bytes.into()
}

/// An error if these headers or trailers report one.
pub(super) fn check(headers: &http::HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}
