//! What a worker and the process of a job have between them: a stream of messages, and a socket
//! that hands over descriptors.
//!
//! The process is started with the socket as its standard input, which needs no agreed number and
//! nothing unsafe. The first descriptor that comes on it is the stream; those after it are
//! connections of other workers. Neither side interprets messages here.

mod descriptors;
mod messages;

pub(crate) use descriptors::{Descriptors, descriptor_pair, receive_descriptor};
pub(crate) use messages::{
    FROM_CHILD_BYTES_MAX, MessageReader, MessageWriter, TO_CHILD_BYTES_MAX, split, stream_pair,
};
