//! How the data of a job goes from one worker to another: who connects to whom, as whom, and the
//! call by which blocks come. What is fetched, and whether it makes sense, is the business of the
//! rest of `shuffle`.
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
