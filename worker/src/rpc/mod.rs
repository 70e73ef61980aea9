//! The gRPC edge of the worker: connections, the server for shuffle data, conversions of session
//! messages.

mod connector;
pub(crate) mod convert;
pub(crate) mod fetch;
mod job_certificates;
mod known_job;
pub(crate) mod preamble;
mod shuffle_listener;
mod shuffle_server;
mod shuffle_tls;

pub use connector::Connector;
pub use job_certificates::JobCertificates;
pub(crate) use known_job::{KnownJob, Reader};
pub(crate) use shuffle_listener::ShuffleListener;
pub(crate) use shuffle_server::{ShuffleServer, answer_once};
pub use shuffle_tls::ShuffleTls;
