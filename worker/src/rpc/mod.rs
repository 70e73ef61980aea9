//! The gRPC edge of the worker: connections, the server for shuffle data, conversions of session messages.

mod connector;
pub(crate) mod convert;
pub(crate) mod fetch;
pub(crate) mod preamble;
mod shuffle_listener;
mod shuffle_server;

pub use connector::{Connector, InvalidUrl};
pub(crate) use shuffle_listener::ShuffleListener;
pub(crate) use shuffle_server::{ShuffleServer, answer_once};
