//! The transport of a job's data between workers: connections, their identities, and the call that
//! carries blocks. The content of a fetch is the business of the rest of `shuffle`.
//!
//! ```text
//!  reader   Peers -- preamble: which job -- ShuffleTls: a process of that job -- call::FetchStream
//!                                                                                     |
//!  holder   its one port -- preamble -- ShuffleServer, in the job's process -- call::FetchServer
//! ```

pub(crate) mod call;
mod job_certificates;
pub(crate) mod peers;
pub(crate) mod preamble;
mod server;
mod tls;

pub use job_certificates::JobCertificates;
pub(crate) use server::{ShuffleServer, answer_once};
pub use tls::ShuffleTls;
