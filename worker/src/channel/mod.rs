//! The connection between a worker and the process of a job: a stream of messages, and a socket
//! that carries descriptors.
//!
//! The process is started with the socket as its standard input, which needs no agreed number and
//! no unsafe code. The first descriptor on it is the stream; the following ones are connections of
//! other workers. Neither side interprets messages here.

mod descriptors;
mod messages;

pub(crate) use descriptors::{Descriptors, descriptor_pair, receive_descriptor};
pub(crate) use messages::{
    FROM_CHILD_BYTES_MAX, MessageReader, MessageWriter, TO_CHILD_BYTES_MAX, split, stream_pair,
};
