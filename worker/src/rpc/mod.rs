//! The gRPC edge of the worker: connections, the server for shuffle data, conversions of session messages.

mod connector;
pub(crate) mod convert;
pub(crate) mod fetch;
mod shuffle_server;

pub use connector::Connector;
pub(crate) use shuffle_server::ShuffleServer;
