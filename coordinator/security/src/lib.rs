//! Authentication and admission in a Windrow cluster.
//!
//! ```text
//!  identity, certificate   the name of a member: windrow://CLUSTER/ROLE/NAME
//!  credentials, token      key and certificate of a member; the token for which it gets them
//!  files                   files and folders that only their owner may open
//!  temporary_folder        a folder that is gone with its process, however that ends
//!  tls                     both sides of a connection; the cluster's authority is the only root
//!  dial, listener          outgoing and incoming connections, plain without credentials
//!  local                   the user behind a connection on this machine, without credentials
//!  access                  one layer around all services: an authorizer before each call
//!  enrollment, renewal     the newcomer's and the member's side of the Enrollment service
//!  retry                   what is retried when the other end hangs up
//!  limits                  what a stranger can make a process hold
//!  waiting_list            waiting connections, in a fair and bounded list
//!  admission               which connections wait, and which are admitted
//!  refusals                one log line a second about refused callers
//! ```
//!
//! It verifies nothing itself: rustls checks chains, signatures, names and validity. Certificates
//! are issued by the coordinator, and which methods a caller may use is an authorizer's decision.

// `eprintln!` panics if standard error cannot be written; `tracing` and `cli::stderr` do not.
#![warn(clippy::print_stderr)]

pub mod access;
mod admission;
mod certificate;
mod credentials;
mod dial;
mod enrollment;
mod error;
pub mod files;
mod identity;
pub mod limits;
mod listener;
mod local;
mod refusals;
mod renewal;
mod retry;
mod temporary_folder;
mod tls;
mod token;
pub mod waiting_list;

pub use tokio_rustls::rustls::pki_types;

pub use certificate::Certified;
pub use credentials::{Credentials, FreshKey, pem};
pub use dial::{Dialed, Dialer, NotAnAddress};
pub use enrollment::enroll;
pub use error::{SecurityError, explain};
pub use identity::{Identity, NotAnIdentity, Role};
pub use listener::{Connection, listen};
pub use local::{LocalUsers, LocalUsersOnly, Origin, nobodys_number};
pub use refusals::Refusals;
pub use renewal::{keep_renewed, renew_if_due};
pub use retry::retry_while_hung_up;
pub use temporary_folder::TemporaryFolder;
pub use tls::{Tls, job_host};
pub use token::JoinToken;
